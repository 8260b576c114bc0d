"""What every program answers to every kind of wrong input: the list, what runs it, and ci/BAD_INPUT.md made of it.

    python ci/bad_input_table.py            # writes ci/BAD_INPUT.md
    python ci/bad_input_table.py WDSR       # prints the answers of the programs that begin so, with their seconds

`PROGRAMS` lists the programs, each with a command line that would do its work, and for each kind of mistake the words
that spoil it (added at the end, where the last one counts), or the reason why the program cannot be given that mistake.
Everything runs in this process and in a folder of its own (`make_workspace`), with networks of one block.
"""

import contextlib
import fnmatch
import importlib
import logging
import os
import pickle
import re
import shlex
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from common import runtime  # noqa: E402
from common.checkpoint import Checkpoint, save  # noqa: E402

PAGE = ROOT / "ci" / "BAD_INPUT.md"

# ------------------------------------------------------------------------------------------------------------ the list

KINDS = {  # in the order of the table
    "unknown option": "an option that there is not, near one that there is",
    "option without its value": "",
    "unknown choice": "a value that is not among an option's choices",
    "wrong type": "words where a number is wanted",
    "out of range": "a number beyond its bounds",
    "left out": "what the program cannot do without is not given",
    "unknown command": "",
    "no configuration": "--config names no file",
    "folder as configuration": "",
    "broken YAML": "",
    "unknown key": "in the YAML file",
    "wrong value in YAML": "",
    "no such data": "the pictures' path leads nowhere",
    "no such set": "a data set's name that stands for nothing",
    "empty folder": "",
    "folder without pictures": "it holds a text",
    "file as folder": "a text where a folder of pictures is wanted",
    "folder as file": "a folder where a file is wanted",
    "truncated picture": "",
    "no picture": "a text called .png",
    "picture too small": "for the patch or the scale",
    "validation picture too small": "for the scale",
    "no such validation pictures": "",
    "sizes do not match": "LR is not HR over the scale",
    "LR missing": "an HR picture has no LR picture",
    "no such LR folder": "",
    "no such checkpoint": "",
    "folder as checkpoint": "",
    "empty checkpoint": "a file without content",
    "truncated checkpoint": "",
    "text as checkpoint": "a text called .ckpt",
    "picture as checkpoint": "",
    "another model's checkpoint": "",
    "another scale's checkpoint": "the flag contradicts the file",
    "code in a .pth": "a pickle that would run a command",
    "no such run": "--resume",
    "folder without a run": "--resume",
    "resume of mere weights": "--resume of a checkpoint that no run wrote",
    "resume of another model": "--resume",
    "output below a file": "as little writable as a read-only folder, which root can write",
    "output is a file": "where a folder is to be made",
    "output is a folder": "where a file is to be written",
    "no such device": "",
}


@dataclass(frozen=True)
class Case:
    """One mistake.

    Attributes:
        words: added to the command line.
        names: what the sentence must name; empty: the last word.
        without: options of the good command line that are left out, with their values.
        leaves: what it may leave behind, as a regular expression, and why.
    """

    words: str = ""
    names: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    leaves: tuple[str, str] = ("", "")


@dataclass(frozen=True)
class Program:
    """An entry point.

    Attributes:
        name: as it is typed.
        module: that has its `main`.
        good: a command line that would do its work.
        cases: for each kind of mistake the words, (words, what is named ...), or a `Case`.
        command: words before all others.
    """

    name: str
    module: str
    good: str
    cases: Mapping[str, "str | tuple[str, ...] | Case"]
    command: str = ""

    def case(self, kind: str) -> Case:
        """The mistake in full."""
        given = self.cases[kind]
        if isinstance(given, Case):
            return given
        words, *names = (given,) if isinstance(given, str) else given
        return Case(words, tuple(names))

    def words(self, kind: str) -> list[str]:
        """The whole command line of a mistake."""
        case, good = self.case(kind), shlex.split(self.good)
        for name in case.without:
            place = good.index(name)
            del good[place : place + 2]
        return [*shlex.split(self.command), *good, *shlex.split(case.words)]


# What the options of all programs have in common: where they come from, and the device.
PARSED = {
    "unknown option": ("--device_targt CPU", "--device_targt", "did you mean '--device_target'?"),
    "option without its value": ("--config", "--config"),
    "no configuration": "--config nowhere.yaml",
    "folder as configuration": "--config empty",
    "broken YAML": "--config broken.yaml",
    "unknown key": ("--config unknown.yaml", "unknown.yaml", "'device_targt'", "did you mean 'device_target'?"),
    "wrong value in YAML": ("--config wrong.yaml", "wrong.yaml", "device_target", "'Abacus'"),
    "unknown choice": ("--device_target Abacus", "device_target", "Abacus"),
    "no such device": ("--device_target Ascend", "no Ascend backend"),
}


def weights(flag: str, model: str, scale: int, *, train: bool = False) -> dict[str, str | tuple[str, ...]]:
    """The mistakes with a checkpoint: read by `flag`, of which the scale of the network is not `scale`."""
    other = "weights/IRN.ckpt" if model != "IRN" else "weights/WDSR.ckpt"
    found = {
        "no such checkpoint": f"{flag} nowhere.ckpt",
        "folder as checkpoint": f"{flag} empty",
        "empty checkpoint": f"{flag} void.ckpt",
        "truncated checkpoint": f"{flag} cut.ckpt",
        "text as checkpoint": f"{flag} text.ckpt",
        "picture as checkpoint": f"{flag} a.png",
        "code in a .pth": (f"{flag} code.pth", "code.pth", "posix.system"),
        "another model's checkpoint": (f"{flag} {other}", other, *(() if train else (model,))),
    }
    return found if train else found | {"another scale's checkpoint": (f"--scale {scale}", "scale", str(scale))}


def runs(model: str) -> dict[str, str | tuple[str, ...]]:
    """The mistakes with --resume."""
    other = "weights/IRN.ckpt" if model != "IRN" else "weights/WDSR.ckpt"
    return {
        "no such run": "--resume nowhere",
        "folder without a run": "--resume empty",
        "resume of mere weights": f"--resume weights/{model}.ckpt",
        "resume of another model": (f"--resume {other}", other, model),
    }


STAMP = r"-\d{8}-\d{6}(-\d+)?"
RUN_STAYS = (rf"out/(\w+{STAMP}/.*)?", "the run's folder stays, since pictures are read while it trains")
FOLDER_STAYS = (r"out/(train/)?", "the folder for the set stays, empty")
SETTINGS_STAY = (r"out/(\.div2k_preprocess\.json)?", "what was begun can be gone on with when the picture is mended")
SAVE = {"output below a file": "--save_dir a.txt/out", "output is a file": "--save_dir a.txt"}
FOLDER = {"output below a file": "--output a.txt/out", "output is a file": "--output a.txt"}
FILE = {"output below a file": ("--file_name a.txt/net", "a.txt"), "output is a folder": "--file_name folder"}
PICTURES = {  # of what infer.py is given
    "left out": Case(names=("--input",), without=("--input",)),
    "no such data": "--input nowhere.png",
    "empty folder": "--input empty",
    "folder without pictures": "--input texts",
    "file as folder": ("--input a.txt", "a.txt"),
    "truncated picture": "--input cut/0001.png",
    "no picture": "--input words/0001.png",
}


def hr_pictures(flag: str) -> dict[str, str | tuple[str, ...]]:
    """The mistakes with one folder of HR pictures and one of LR pictures (IRN, SRFlow, SRDiff)."""
    return {
        "left out": Case(names=(flag,), without=(flag,)),
        "no such data": f"{flag} nowhere",
        "empty folder": f"{flag} empty",
        "folder without pictures": f"{flag} texts",
        "file as folder": f"{flag} a.txt",
        "truncated picture": (f"{flag} cut", "cut/0001.png"),
        "no picture": (f"{flag} words", "words/0001.png"),
        "LR missing": (f"{flag} missized/HR --dataset_LQ_path pictures", "0001.png", "pictures"),
        "no such LR folder": "--dataset_LQ_path nowhere",
    }


def named_sets(flag: str, names: str) -> dict[str, str | tuple[str, ...]]:
    """The mistakes with data sets by name (WDSR, CSNLN)."""
    return {
        "no such data": f"{flag} nowhere",
        "file as folder": f"{flag} a.txt",
        "no such set": f"{names} Set99",
        "empty folder": f"{names} empty",
        "folder without pictures": f"{names} texts",
        "truncated picture": (f"{names} cut", "cut/0001.png"),
        "no picture": (f"{names} words", "words/0001.png"),
        "sizes do not match": (f"{names} missized", "missized", "0001x2.png", "10x10"),
        "LR missing": (f"{names} lacking", "lacking", "0001.png"),
    }


NAMED_SETS = "--data_train DIV2K --data_range 1-2/3-4 --data_test Set5"
WDSR_TINY = "--n_resblocks 1 --n_feats 4"
IRN_TINY = "--block_num 1 --growth 2"
SRFLOW_TINY = "--num_features 4 --num_blocks 1 --stack 0 --flow_steps 1 --hidden_channels 4 --growth 2"
SRDIFF_TINY = "--model srdiff_small --hidden_size 4 --rrdb_num_feat 4 --rrdb_num_block 2 --unet_dim_mults 1,2"
CSNLN_TINY = "--n_feats 4 --depth 1"

WDSR = [
    Program(
        "WDSR/train.py",
        "WDSR.train",
        f"--dir_data data {NAMED_SETS} --patch_size 16 {WDSR_TINY} --save_dir out",
        {
            **PARSED,
            **weights("--ckpt_path", "WDSR", 2, train=True),
            **runs("WDSR"),
            **SAVE,
            **named_sets("--dir_data", "--data_train"),
            "wrong type": "--epochs many",
            "out of range": "--batch_size 0",
            "picture too small": ("--patch_size 960", "960"),
            "another scale's checkpoint": "--scale 4 --ckpt_path weights/WDSR.ckpt",
            "validation picture too small": ("--data_test dots", "dot"),
            "no such validation pictures": "--data_test Set99",
            "left out": Case(names=("DIV2K",), without=("--dir_data",)),
            "truncated picture": Case("--data_train cut", ("cut/0001.png",), leaves=RUN_STAYS),
            "sizes do not match": Case("--data_train missized", ("missized", "0001x2.png", "10x10"), leaves=RUN_STAYS),
            "folder as file": "--data_train folder.mindrecord",
        },
    ),
    Program(
        "WDSR/eval.py",
        "WDSR.eval",
        "--dir_data data --data_test Set5 --ckpt_path weights/WDSR.ckpt --engine mindspore --output out",
        {
            **PARSED,
            "picture too small": ("--data_test dots", "dot"),
            **weights("--ckpt_path", "WDSR", 4),
            **FOLDER,
            **named_sets("--dir_data", "--data_test"),
            "wrong type": "--limit many",
            "out of range": "--limit -1",
            "left out": Case(names=("Set5",), without=("--dir_data",)),
        },
    ),
    Program(
        "WDSR/infer.py",
        "WDSR.infer",
        "--input a.png --ckpt_path weights/WDSR.ckpt --engine mindspore --output out",
        {
            **PARSED,
            **weights("--ckpt_path", "WDSR", 4),
            **FOLDER,
            **PICTURES,
            "wrong type": "--tile large",
            "out of range": "--tile -1",
        },
    ),
    Program(
        "WDSR/export.py",
        "WDSR.export",
        "--ckpt_path weights/WDSR.ckpt --file_name out/net",
        {
            **PARSED,
            **weights("--ckpt_path", "WDSR", 4),
            **FILE,
            "wrong type": "--batch_size many",
            "out of range": "--batch_size 0",
        },
    ),
]

IRN = [
    Program(
        "IRN/train.py",
        "IRN.train",
        f"--scale 2 --dataset_GT_path data/DIV2K --patch_size 16 {IRN_TINY} --save_dir out",
        {
            **PARSED,
            **weights("--ckpt_path", "IRN", 2, train=True),
            **runs("IRN"),
            **SAVE,
            **hr_pictures("--dataset_GT_path"),
            "wrong type": "--niter many",
            "out of range": "--batch_size 0",
            "picture too small": ("--patch_size 960", "960"),
            "another scale's checkpoint": "--scale 4 --block_num 1,1 --ckpt_path weights/IRN.ckpt",
            "validation picture too small": ("--val_GT_path dots", "dot"),
            "no such validation pictures": "--val_GT_path nowhere",
            "unknown choice": "--lr_scheme MultiStep",
            "truncated picture": Case("--dataset_GT_path cut", ("cut/0001.png",), leaves=RUN_STAYS),
            "sizes do not match": Case(
                "--dataset_GT_path missized/HR --dataset_LQ_path missized/LR_bicubic/X2",
                ("0001x2.png", "10x10"),
                leaves=RUN_STAYS,
            ),
        },
    ),
    Program(
        "IRN/eval.py",
        "IRN.eval",
        "--dataset_GT_path data/benchmark/Set5 --ckpt_path weights/IRN.ckpt --engine mindspore --output out",
        {
            **PARSED,
            "picture too small": ("--dataset_GT_path dots", "dot"),
            **weights("--ckpt_path", "IRN", 4),
            **FOLDER,
            **hr_pictures("--dataset_GT_path"),
            "wrong type": "--limit many",
            "out of range": "--draws 0",
            "no such set": "--data_test Set99",
            "sizes do not match": (
                "--dataset_GT_path missized/HR --dataset_LQ_path missized/LR_bicubic/X2",
                "0001x2.png",
                "10x10",
            ),
        },
    ),
    Program(
        "IRN/infer.py downscale",
        "IRN.infer",
        "--input a.png --ckpt_path weights/IRN.ckpt --engine mindspore --output out",
        {
            **PARSED,
            **weights("--ckpt_path", "IRN", 4),
            **FOLDER,
            **PICTURES,
            "wrong type": "--tile large",
            "out of range": "--tile -1",
            "unknown choice": "--format webp",
            "left out": Case(names=("downscale FILE",), without=("--input",)),
            "picture too small": "--input dot.png",
        },
        command="downscale",
    ),
    Program(
        "IRN/infer.py upscale",
        "IRN.infer",
        "--input a.png --ckpt_path weights/IRN.ckpt --engine mindspore --output out",
        {
            **PARSED,
            **weights("--ckpt_path", "IRN", 4),
            **FOLDER,
            **PICTURES,
            "wrong type": "--samples many",
            "out of range": "--samples 0",
            "unknown choice": "--format webp",
            "left out": Case(names=("upscale FILE",), without=("--input",)),
        },
        command="upscale",
    ),
    Program(
        "IRN/infer.py",
        "IRN.infer",
        "",
        {
            "unknown command": ("upscle a.png", "'upscle'", "did you mean 'upscale'?"),
            "left out": Case(names=("infer.py downscale PICTURES", "infer.py upscale PICTURES")),
        },
    ),
    Program(
        "IRN/export.py",
        "IRN.export",
        "--ckpt_path weights/IRN.ckpt --file_name out/net --graph downscale",
        {
            **PARSED,
            **weights("--ckpt_path", "IRN", 4),
            **FILE,
            "output is a folder": "--file_name kept",
            "wrong type": "--batch_size many",
            "out of range": "--batch_size 0",
            "unknown choice": "--graph upscle",
        },
    ),
]

SRFLOW = [
    Program(
        "SRFlow/train.py",
        "SRFlow.train",
        f"--stage rrdb --dataset_GT_path data/DIV2K --patch_size 32 {SRFLOW_TINY} --save_dir out",
        {
            **PARSED,
            **weights("--ckpt_path", "SRFlow", 4, train=True),
            **runs("SRFlow"),
            **SAVE,
            **hr_pictures("--dataset_GT_path"),
            "wrong type": "--niter many",
            "out of range": "--batch_size 0",
            "picture too small": ("--patch_size 960", "960"),
            "another scale's checkpoint": "--scale 8 --patch_size 64 --ckpt_path weights/SRFlow.ckpt",
            "validation picture too small": ("--val_GT_path dots", "dot"),
            "no such validation pictures": "--val_GT_path nowhere",
            "unknown choice": "--stage flw",
            "truncated picture": Case("--dataset_GT_path cut", ("cut/0001.png",), leaves=RUN_STAYS),
            "sizes do not match": Case(
                "--dataset_GT_path missized/HR --dataset_LQ_path missized/LR_bicubic/X4",
                ("0001x4.png", "10x10"),
                leaves=RUN_STAYS,
            ),
            "folder as file": "--dataset_GT_path folder.mindrecord",
        },
    ),
    Program(
        "SRFlow/eval.py",
        "SRFlow.eval",
        "--dataset_GT_path data/benchmark/Set5 --ckpt_path weights/SRFlow.ckpt --engine mindspore --output out",
        {
            **PARSED,
            "picture too small": ("--dataset_GT_path dots", "dot"),
            **weights("--ckpt_path", "SRFlow", 8),
            **FOLDER,
            **hr_pictures("--dataset_GT_path"),
            "wrong type": "--heats hot",
            "out of range": "--heat -1",
            "no such set": "--data_test Set99",
            "unknown choice": "--protocol tables",
            "sizes do not match": (
                "--dataset_GT_path missized/HR --dataset_LQ_path missized/LR_bicubic/X4",
                "0001x4.png",
                "10x10",
            ),
            "folder as file": "--dataset_GT_path folder.mindrecord",
        },
    ),
    Program(
        "SRFlow/infer.py",
        "SRFlow.infer",
        "--input a.png --ckpt_path weights/SRFlow.ckpt --engine mindspore --output out",
        {
            **PARSED,
            **weights("--ckpt_path", "SRFlow", 8),
            **FOLDER,
            **PICTURES,
            "wrong type": "--heat hot",
            "out of range": "--samples 0",
            "unknown choice": "--format webp",
            "left out": Case(names=("infer.py PICTURES",), without=("--input",)),
        },
    ),
    Program(
        "SRFlow/infer.py COMMAND",
        "SRFlow.infer",
        "",
        {"unknown command": ("enocde a.png", "enocde", "did you mean 'encode'?")},
    ),
    Program(
        "SRFlow/infer.py encode",
        "SRFlow.infer",
        "--input a.png --ckpt_path weights/SRFlow.ckpt --engine mindspore --output out",
        {
            **PARSED,
            **weights("--ckpt_path", "SRFlow", 8),
            **FOLDER,
            **PICTURES,
            "wrong type": "--tile large",
            "out of range": "--tile -1",
            "left out": Case(names=("infer.py encode HR",), without=("--input",)),
            "no such LR folder": "--lr nowhere",
            "LR missing": ("--lr pictures --input missized/HR/0001.png", "pictures", "0001"),
            "sizes do not match": (
                "--input missized/HR/0001.png --lr missized/LR_bicubic/X4",
                "missized",
                "0001x4.png",
                "10x10",
            ),
        },
        command="encode",
    ),
    Program(
        "SRFlow/infer.py decode",
        "SRFlow.infer",
        "--input a.npz --ckpt_path weights/SRFlow.ckpt --engine mindspore --output out",
        {
            **PARSED,
            **weights("--ckpt_path", "SRFlow", 8),
            **FOLDER,
            "wrong type": "--tile large",
            "out of range": "--tile -1",
            "unknown choice": "--format webp",
            "left out": Case(names=("infer.py decode LATENTS",), without=("--input",)),
            "no such data": "--input nowhere.npz",
            "empty folder": "--input empty",
            "folder without pictures": "--input texts",
            "truncated picture": "--input cut.npz",
            "no picture": "--input words.npz",
            "file as folder": "--input a.txt",
        },
        command="decode",
    ),
    Program(
        "SRFlow/infer.py interpolate",
        "SRFlow.infer",
        "a.npz --input a.npz --ckpt_path weights/SRFlow.ckpt --engine mindspore --output out",
        {
            **PARSED,
            **weights("--ckpt_path", "SRFlow", 8),
            **FOLDER,
            "wrong type": "--steps many",
            "out of range": "--steps 1",
            "unknown choice": "--format webp",
            "left out": Case(names=("two files of latents",), without=("--input",)),
            "no such data": "--input nowhere.npz",
            "empty folder": "--input empty",
            "folder without pictures": "--input texts",
            "file as folder": "--input a.txt",
            "truncated picture": "--input cut.npz",
            "no picture": "--input words.npz",
            "sizes do not match": ("--input b.npz", "a.npz", "b.npz"),
        },
        command="interpolate",
    ),
    Program(
        "SRFlow/export.py",
        "SRFlow.export",
        "--ckpt_path weights/SRFlow.ckpt --file_name out/net --graph decode",
        {
            **PARSED,
            **weights("--ckpt_path", "SRFlow", 8),
            **FILE,
            "output is a folder": "--file_name kept",
            "wrong type": "--batch_size many",
            "out of range": "--batch_size 0",
            "unknown choice": "--graph decod",
        },
    ),
    Program(
        "SRFlow/train2test.py",
        "SRFlow.train2test",
        "--train_path weights/SRFlow.ckpt --test_path out/net.ckpt",
        {
            **PARSED,
            **weights("--train_path", "SRFlow", 4, train=True),
            "left out": Case(names=("--test_path",), without=("--test_path",)),
            "output below a file": ("--test_path a.txt/net.ckpt", "a.txt"),
            "output is a folder": "--test_path folder.ckpt",
            "wrong type": ("--test_path net.onnx", "net.onnx"),
        },
    ),
    Program(
        "SRFlow/src/dataset/prepare.py",
        "SRFlow.src.dataset.prepare",
        "--root data/DIV2K --split train --patch_size 16 --crops 1 --output out",
        {
            **{kind: words for kind, words in PARSED.items() if kind != "no such device"},
            "unknown option": ("--rot data", "--rot", "did you mean '--root'?"),
            "unknown key": ("--config unknown_pack.yaml", "unknown_pack.yaml", "'scal'", "did you mean 'scale'?"),
            "wrong value in YAML": ("--config wrong_pack.yaml", "wrong_pack.yaml", "scale", "'many'"),
            "unknown choice": "--split tran",
            "wrong type": "--crops many",
            "out of range": "--crops 0",
            "left out": Case(names=("--root",), without=("--root",)),
            "no such data": "--root nowhere",
            "empty folder": "--root empty",
            "folder without pictures": "--root texts",
            "file as folder": "--root a.txt",
            "truncated picture": Case("--root cut", ("cut/0001.png",), leaves=FOLDER_STAYS),
            "no picture": Case("--root words", ("words/0001.png",), leaves=FOLDER_STAYS),
            "picture too small": Case("--patch_size 960", ("960",), leaves=FOLDER_STAYS),
            "output below a file": "--output a.txt/out",
            "output is a file": "--output a.txt",
        },
    ),
]

SRDIFF = [
    Program(
        "SRDiff/train.py",
        "SRDiff.train",
        f"--stage rrdb --dataset_GT_path data/DIV2K --patch_size 32 {SRDIFF_TINY} --save_dir out",
        {
            **PARSED,
            **weights("--ckpt_path", "SRDiff", 4, train=True),
            **runs("SRDiff"),
            **SAVE,
            **hr_pictures("--dataset_GT_path"),
            "wrong type": "--max_updates many",
            "out of range": "--batch_size 0",
            "picture too small": ("--patch_size 960", "960"),
            "another scale's checkpoint": "--scale 8 --patch_size 64 --ckpt_path weights/SRDiff.ckpt",
            "validation picture too small": ("--val_GT_path dots", "dot"),
            "no such validation pictures": "--val_GT_path nowhere",
            "unknown choice": "--val_sampler ddmi",
            "truncated picture": Case("--dataset_GT_path cut", ("cut/0001.png",), leaves=RUN_STAYS),
            "sizes do not match": Case(
                "--dataset_GT_path missized/HR --dataset_LQ_path missized/LR_bicubic/X4",
                ("0001x4.png", "10x10"),
                leaves=RUN_STAYS,
            ),
            "folder as file": "--dataset_GT_path folder.mindrecord",
        },
    ),
    Program(
        "SRDiff/eval.py",
        "SRDiff.eval",
        "--dataset_GT_path data/benchmark/Set5 --ckpt_path weights/SRDiff.ckpt --engine mindspore --output out",
        {
            **PARSED,
            **weights("--ckpt_path", "SRDiff", 8),
            **FOLDER,
            **hr_pictures("--dataset_GT_path"),
            "wrong type": "--steps many",
            "out of range": ("--steps 11", "--steps", "10"),
            "no such set": "--data_test Set99",
            "unknown choice": "--sampler ddmi",
            "sizes do not match": (
                "--dataset_GT_path missized/HR --dataset_LQ_path missized/LR_bicubic/X4",
                "0001x4.png",
                "10x10",
            ),
            "folder as file": "--dataset_GT_path folder.mindrecord",
            "picture too small": ("--cut_to 96", "cut_to"),
        },
    ),
    Program(
        "SRDiff/infer.py",
        "SRDiff.infer",
        "--input a.png --ckpt_path weights/SRDiff.ckpt --engine mindspore --output out",
        {
            **PARSED,
            **weights("--ckpt_path", "SRDiff", 8),
            **FOLDER,
            **PICTURES,
            "wrong type": "--steps many",
            "out of range": "--steps 11",
            "unknown choice": "--sampler ddmi",
            "left out": Case(names=("infer.py FILE",), without=("--input",)),
            "folder as file": "--box 0,0,8,8 --fuse empty",
            "sizes do not match": ("--box 0,0,8,8 --fuse b.png", "b.png"),
        },
    ),
    Program(
        "SRDiff/export.py",
        "SRDiff.export",
        "--ckpt_path weights/SRDiff.ckpt --file_name out/net --graph encoder",
        {
            **PARSED,
            **weights("--ckpt_path", "SRDiff", 8),
            **FILE,
            "output is a folder": "--file_name kept",
            "wrong type": "--batch_size many",
            "out of range": "--batch_size 0",
            "unknown choice": "--graph decoder",
        },
    ),
    Program(
        "SRDiff/src/dataset/div2k_preprocess.py",
        "SRDiff.src.dataset.div2k_preprocess",
        "--root data/DIV2K --dataset div2k --crop_size 16 --num_workers 1 --output out",
        {
            **{kind: words for kind, words in PARSED.items() if kind != "no such device"},
            "unknown option": ("--rot data", "--rot", "did you mean '--root'?"),
            "unknown key": ("--config unknown_pack.yaml", "unknown_pack.yaml", "'scal'", "did you mean 'scale'?"),
            "wrong value in YAML": ("--config wrong_pack.yaml", "wrong_pack.yaml", "scale", "'many'"),
            "unknown choice": "--dataset div",
            "wrong type": "--crop_size many",
            "out of range": "--crop_size 0",
            "left out": Case(names=("--dataset",), without=("--dataset",)),
            "no such data": "--root nowhere",
            "empty folder": "--root empty",
            "folder without pictures": "--root texts",
            "file as folder": "--root a.txt",
            "truncated picture": Case("--dataset flickr2k --root cut", ("cut/0001.png",), leaves=SETTINGS_STAY),
            "no picture": ("--dataset flickr2k --root words", "words/0001.png"),
            "picture too small": ("--dataset set5 --root dots", "dots/dot.png"),
            "sizes do not match": Case("--dataset set5 --root missized", ("0001x4.png", "10x10"), leaves=SETTINGS_STAY),
            "LR missing": ("--dataset set5 --root lacking", "0001.png"),
            "output below a file": "--output a.txt/out",
            "output is a file": "--output a.txt",
        },
    ),
]

CSNLN = [
    Program(
        "CSNLN/train.py",
        "CSNLN.train",
        f"--data_path data {NAMED_SETS} --patch_size 24 {CSNLN_TINY} --save_dir out",
        {
            **PARSED,
            **weights("--pre_trained", "CSNLN", 2, train=True),
            **runs("CSNLN"),
            **SAVE,
            **named_sets("--data_path", "--data_train"),
            "wrong type": "--epochs many",
            "out of range": "--batch_size 0",
            "picture too small": ("--patch_size 960", "960"),
            "another scale's checkpoint": "--scale 4 --pre_trained weights/CSNLN.ckpt",
            "validation picture too small": ("--data_test dots", "dot"),
            "no such validation pictures": "--data_test Set99",
            "left out": Case(names=("--data_path",), without=("--data_path",)),
            "truncated picture": Case("--data_train cut", ("cut/0001.png",), leaves=RUN_STAYS),
            "sizes do not match": Case("--data_train missized", ("missized", "0001x2.png", "10x10"), leaves=RUN_STAYS),
            "folder as file": "--data_train folder.mindrecord",
        },
    ),
    Program(
        "CSNLN/eval.py",
        "CSNLN.eval",
        "--data_path data --data_test Set5 --ckpt_file weights/CSNLN.ckpt --engine mindspore --output out",
        {
            **PARSED,
            "picture too small": ("--data_test dots", "dot"),
            **weights("--ckpt_file", "CSNLN", 4),
            **FOLDER,
            **named_sets("--data_path", "--data_test"),
            "wrong type": "--limit many",
            "out of range": "--limit -1",
            "left out": Case(names=("--data_path",), without=("--data_path",)),
        },
    ),
    Program(
        "CSNLN/infer.py",
        "CSNLN.infer",
        "--input a.png --ckpt_file weights/CSNLN.ckpt --engine mindspore --output out",
        {
            **PARSED,
            **weights("--ckpt_file", "CSNLN", 4),
            **FOLDER,
            **PICTURES,
            "wrong type": "--attention here",
            "out of range": "--attention_memory 0",
            "unknown choice": "--format webp",
        },
    ),
    Program(
        "CSNLN/export.py",
        "CSNLN.export",
        "--ckpt_file weights/CSNLN.ckpt --file_name out/net",
        {
            **PARSED,
            **weights("--ckpt_file", "CSNLN", 4),
            **FILE,
            "wrong type": "--batch_size many",
            "out of range": "--lr_width 0",
        },
    ),
]

MINDRECORD = [
    Program(
        "python -m common.mindrecord",
        "common.mindrecord.__main__",
        "",
        {"unknown command": "pak", "left out": Case(names=("command",))},
    ),
    Program(
        "python -m common.mindrecord pack",
        "common.mindrecord.__main__",
        "--hr pictures --scale 2 --output out/x.mindrecord",
        {
            "unknown option": ("--encodin png", "--encodin"),
            "option without its value": ("--seed", "--seed"),
            "unknown choice": "--encoding pgn",
            "wrong type": "--patch many",
            "out of range": "--patch -1",
            "left out": Case(names=("--hr",), without=("--hr",)),
            "no such data": "--hr nowhere",
            "empty folder": "--hr empty",
            "folder without pictures": "--hr texts",
            "file as folder": Case("--hr a.txt", leaves=FOLDER_STAYS),
            "truncated picture": Case("--hr cut", ("cut/0001.png",), leaves=FOLDER_STAYS),
            "no picture": Case("--hr words", ("words/0001.png",), leaves=FOLDER_STAYS),
            "picture too small": Case("--patch 960", leaves=FOLDER_STAYS),
            "sizes do not match": Case(
                "--hr missized/HR --lr missized/LR_bicubic/X2", ("0001x2.png", "10x10"), leaves=FOLDER_STAYS
            ),
            "LR missing": ("--hr missized/HR --lr pictures", "0001.png"),
            "no such LR folder": "--lr nowhere",
            "output below a file": ("--output a.txt/x.mindrecord", "a.txt"),
            "output is a folder": "--output folder.mindrecord",
        },
        command="pack",
    ),
    *(
        Program(
            f"python -m common.mindrecord {command}",
            "common.mindrecord.__main__",
            words,
            {
                "unknown option": ("--outpt x", "--outpt"),
                "left out": Case(names=("path",)),
                "no such data": "nowhere.mindrecord",
                "folder as file": "folder.mindrecord",
                "file as folder": "a.txt",
            },
            command=command,
        )
        for command, words in {"verify": "", "info": "", "unpack": "--output out", "repair": ""}.items()
    ),
]

PROGRAMS = [*WDSR, *IRN, *SRFLOW, *SRDIFF, *CSNLN, *MINDRECORD]

OF_RUNS = ("no such run", "folder without a run", "resume of mere weights", "resume of another model")
OF_FILES = ("no configuration", "folder as configuration", "broken YAML", "unknown key", "wrong value in YAML")
OF_CHECKPOINTS = (
    "no such checkpoint", "folder as checkpoint", "empty checkpoint", "truncated checkpoint", "text as checkpoint",
    "picture as checkpoint", "another model's checkpoint", "another scale's checkpoint", "code in a .pth",
)  # fmt: skip
OF_VALIDATION = ("validation picture too small", "no such validation pictures")
OF_LR = ("sizes do not match", "LR missing", "no such LR folder")
OF_PICTURES = (
    "no such data", "no such set", "empty folder", "folder without pictures", "file as folder", "folder as file",
    "truncated picture", "no picture", "picture too small", *OF_LR,
)  # fmt: skip
USE = "*/eval.py */infer.py* */export.py SRFlow/train2test.py"
PACK = "*/prepare.py */div2k_preprocess.py *mindrecord*"
LEFT_OUT = (  # (kinds, programs by patterns, why they are not asked)
    (("unknown command",), "*", "it has no commands, or they are asked about once for all"),
    (tuple(KINDS), "IRN/infer.py;SRFlow/infer.py COMMAND;python -m common.mindrecord", "asked of each command"),
    (OF_RUNS, f"{USE} {PACK}", "only training goes on with a run"),
    (OF_VALIDATION, f"{USE} {PACK}", "only training looks at other pictures meanwhile"),
    (
        ("output is a folder",),
        "*/train.py */eval.py */infer.py* */prepare.py */div2k_preprocess.py",
        "it writes a folder",
    ),
    (("output is a file",), "*/export.py SRFlow/train2test.py *mindrecord*", "it writes a file"),
    (("left out",), "*/export.py", "all that it needs has a default"),
    (("out of range",), "SRFlow/train2test.py", "it takes no numbers"),
    (("another scale's checkpoint",), "SRFlow/train2test.py", "it takes any scale"),
    (OF_PICTURES, "*/export.py SRFlow/train2test.py", "it reads no pictures"),
    (OF_CHECKPOINTS, PACK, "it reads no checkpoint"),
    (("no such device",), PACK, "it computes nothing on a device"),
    (
        ("no such set",),
        f"*/infer.py* IRN/train.py SRFlow/train.py SRDiff/train.py {PACK}",
        "pictures are told by their path",
    ),
    (("folder as file",), f"*/infer.py* */eval.py IRN/train.py {PACK}", "files and folders are both taken"),
    (("picture too small",), "*/infer.py*", "pictures of any size are taken"),
    (("no such LR folder",), "WDSR/* CSNLN/* */div2k_preprocess.py", "LR pictures are told by their place"),
    (OF_LR, "*/infer.py* */prepare.py", "it takes pictures of one kind"),
    (OF_FILES, "*mindrecord*", "it has no configuration file"),
    (tuple(KINDS), "*mindrecord verify;*mindrecord info;*mindrecord unpack;*mindrecord repair", "it takes one path"),
)


def why_left_out(program: Program, kind: str) -> str:
    """Why a program is not asked about a kind of mistake; "" when there is no reason."""
    for kinds, patterns, reason in LEFT_OUT:
        words = patterns.split(";") if ";" in patterns else patterns.split()
        if kind in kinds and any(fnmatch.fnmatchcase(program.name, word) for word in words):
            return reason
    return ""


# --------------------------------------------------------------------------------------------------------- the answers


class Answer(NamedTuple):
    """What a program did.

    Attributes:
        code: exit code, or the name of what would be a traceback.
        error: the sentence: what stands behind "error: " on stderr.
        unasked: other lines of stderr, but for those that the program logs when all is well, too.
        output: stdout.
        left: what is there that was not there before, or was changed.
        seconds: of CPU.
    """

    code: object
    error: str
    unasked: list[str]
    output: str
    left: list[str]
    seconds: float


def answer(program: Program, kind: str, workspace: Path) -> Answer:
    """Run a program with a mistake, in the workspace, through the wrapper that its command uses."""
    main = importlib.import_module(program.module).main
    words, before, start = program.words(kind), listing(workspace), time.process_time()
    with working_in(workspace), logged() as notices, captured() as said:
        try:
            runtime.run_main(lambda: main(words))
        except SystemExit as end:
            code: object = end.code
        except Exception as error:  # what a user would see as a traceback
            code = type(error).__name__
    seconds = time.process_time() - start
    left = sorted(path for path, content in listing(workspace).items() if before.get(path, ()) != content)
    for path in sorted(set(left) - before.keys(), reverse=True):
        (workspace / path).rmdir() if path.endswith("/") else (workspace / path).unlink()
    lines = [line for line in said["err"].splitlines() if line not in notices]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    unasked = [line for line in lines if not line.startswith("error: ")] + errors[1:]
    return Answer(code, shortened("".join(errors[:1]), workspace), unasked, said["out"], left, seconds)


@contextlib.contextmanager
def logged() -> Iterator[set[str]]:
    """The lines that are logged in the block, but for errors."""
    lines: set[str] = set()

    class Notes(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.update(record.getMessage().splitlines() if record.levelno < logging.ERROR else ())

    handler = Notes()
    logging.getLogger().addHandler(handler)
    try:
        yield lines
    finally:
        logging.getLogger().removeHandler(handler)


def shortened(text: str, workspace: Path) -> str:
    """Without what differs from machine to machine, from run to run and among versions of Python."""
    for folder in (workspace, ROOT):
        text = text.replace(f"{folder}/", "").replace(str(folder), ".")
    text = re.sub(r"\(choose from ([^)]*)\)", lambda match: match[0].replace("'", ""), text)
    return re.sub(STAMP, "-TIME", text)


def listing(folder: Path) -> dict[str, tuple[int, int] | None]:
    """path -> size and time of each file; folders end in / and have none."""
    return {
        f"{path.relative_to(folder).as_posix()}{'/' if path.is_dir() else ''}": None
        if path.is_dir()
        else (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
    }


@contextlib.contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """As `cd`."""
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def captured() -> Iterator[dict[str, str]]:
    """What is said in the block, by Python and by the libraries below it: "out" and "err" when it has ended."""
    said: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        files = {}
        for name, number, redirect in (("out", 1, contextlib.redirect_stdout), ("err", 2, contextlib.redirect_stderr)):
            file = files[name] = stack.enter_context(tempfile.TemporaryFile())
            kept = os.dup(number)
            os.dup2(file.fileno(), number)
            stack.callback(os.close, kept)
            stack.callback(os.dup2, kept, number)
            stack.enter_context(redirect(stack.enter_context(open(os.dup(number), "w", buffering=1, encoding="utf-8"))))
        yield said
        for name, file in files.items():
            file.seek(0)
            said[name] = file.read().decode()


# ------------------------------------------------------------------------------------------------------- the workspace


def make_workspace(folder: Path) -> Path:
    """Whole and spoiled files of every sort; returns the folder, resolved."""
    from common.images import write_picture
    from SRFlow.src.model_utils.trained import digest_of

    folder = folder.resolve()
    rng = np.random.default_rng(0)

    def picture(name: str, side: int) -> Path:
        write_picture(folder / name, rng.integers(0, 256, (side, side, 3), dtype=np.uint8))
        return folder / name

    def text(name: str, content: str) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")

    for name in (
        "a.png",
        "pictures/a.png",
        "data/benchmark/Set5/HR/a.png",
        "missized/HR/0001.png",
        "lacking/HR/0001.png",
    ):
        picture(name, 64)
    for number in range(1, 5):
        picture(f"data/DIV2K/DIV2K_train_HR/000{number}.png", 64)
    for scale in (2, 4):
        picture(f"missized/LR_bicubic/X{scale}/0001x{scale}.png", 10)
        picture(f"lacking/LR_bicubic/X{scale}/0002x{scale}.png", 64 // scale)
    picture("dot.png", 1)
    picture("dots/dot.png", 1)
    picture("b.png", 32)
    whole = picture("cut/0001.png", 64)
    whole.write_bytes(whole.read_bytes()[:5000])
    for name in ("a.txt", "texts/a.txt", "words/0001.png", "words.npz", "text.ckpt"):
        text(name, "These are words.\n")
    text("broken.yaml", "device_target: [CPU\n")
    text("unknown.yaml", "device_targt: CPU\n")
    text("wrong.yaml", "device_target: Abacus\n")
    text("unknown_pack.yaml", "scal: 4\n")
    text("wrong_pack.yaml", "scale: many\n")
    for name in (
        "empty",
        "folder.mindrecord",
        "folder.mindir",
        "folder.ckpt",
        "kept_downscale.mindir",
        "kept_decode.mindir",
        "kept_encoder.mindir",
    ):
        (folder / name).mkdir()
    for model, network, description in tiny_networks():
        arrays = {parameter.name: parameter.asnumpy() for parameter in network.get_parameters()}
        saved = Checkpoint(arrays, description)
        save(folder / "weights" / f"{model}.ckpt", saved)
        if model == "SRFlow":
            for name, seed in (("a.npz", 1), ("b.npz", 2)):
                write_latents(folder / name, seed, network.hyper, digest_of(network.hyper, saved))
    (folder / "cut.npz").write_bytes((folder / "a.npz").read_bytes()[:2000])
    (folder / "void.ckpt").touch()
    (folder / "cut.ckpt").write_bytes((folder / "weights" / "IRN.ckpt").read_bytes()[:2000])
    with zipfile.ZipFile(folder / "code.pth", "w") as archive:  # whoever unpickles it runs `touch ran`
        archive.writestr("code/data.pkl", pickle.dumps({"weight": Run()}, protocol=2))
        archive.writestr("code/version", "3\n")
    return folder


class Run:
    """What runs a command when it is unpickled."""

    def __reduce__(self) -> tuple:
        return os.system, ("touch ran",)


def write_latents(path: Path, seed: int, hyper: object, digest: str) -> None:
    """A file that SRFlow's infer.py encode might have written for a picture of 32x32."""
    from SRFlow.src.model.SRFlowNet import draw_latents
    from SRFlow.src.model_utils.latent_file import Latents, write

    rng = np.random.default_rng(seed)
    lr = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    write(path, Latents(draw_latents(hyper, (1, 8, 8), 1.0, rng), lr, 32, 32, digest))


def tiny_networks() -> Iterator[tuple[str, object, dict]]:
    """(model, network of one block, what its checkpoint says) of every model."""
    small = {"num_features": 4, "num_blocks": 1}
    flow = {**small, "growth": 2, "stack": (0,), "levels": 3, "steps": 1, "hidden_channels": 4}
    diffusion = {"dim_mults": (1, 2), "hidden_size": 4, "rrdb_num_feat": 4, "rrdb_num_block": 2, "timesteps": 10}
    for model, module, name, shape, utilities in (
        ("WDSR", "model", "WDSR", {"scale": 2, **small}, "utils"),
        ("IRN", "network.Invnet", "InvRescaleNet", {"scale": 2, "block_num": (1,), "growth": 2}, "utils.util"),
        ("SRFlow", "model.SRFlowNet", "SRFlowNet", {"scale": 4, **flow}, "model_utils.util"),
        ("SRDiff", "model.srdiff", "SRDiffNet", {"scale": 4, **diffusion}, "model_utils.util"),
        ("CSNLN", "CSNLN", "CSNLN", {"scale": 2, "n_feats": 4, "depth": 1}, "utils"),
    ):
        built = importlib.import_module(f"{model}.src.{module}")
        hyper = built.Hyper(**shape)
        yield (
            model,
            getattr(built, name)(hyper),
            importlib.import_module(f"{model}.src.{utilities}").describe(hyper, {}),
        )


# ----------------------------------------------------------------------------------------------------------- the table


INTRODUCTION = """# What the programs answer to wrong input

Each mistake ends with exit code 2 and one sentence on stderr, which names what is wrong; nothing is left behind but
what a row says. `python ci/bad_input_table.py` writes this page; `ci/tests/test_bad_input.py` makes each of these
mistakes and compares. What is typed is added to a command line that would do its work. Of the files `a.png` is a
picture, `a.txt` a text, `nowhere` is not there, `cut` ends too early, `words/0001.png` is a text; `empty` and `texts`
are folders without pictures; in `missized` LR does not belong to HR, in `lacking` it is not there; in `dots` is a
picture of one pixel; `weights/` holds a whole checkpoint of each model.
"""


def page(answers: Mapping[tuple[str, str], Answer]) -> str:
    """Markdown: for each kind of mistake what was typed, the sentences, and who says them."""
    parts = [INTRODUCTION]
    for kind, meaning in KINDS.items():
        said: dict[tuple[str, str, str], list[str]] = {}
        for program in PROGRAMS:
            if kind in program.cases:
                case = program.case(kind)
                typed = case.words or f"without {' '.join(case.without) or 'any word'}"
                sentence = answers[program.name, kind].error
                said.setdefault((sentence, typed, case.leaves[1]), []).append(program.name)
        parts.append(
            f"\n## {kind[0].upper()}{kind[1:]}\n\n" + (f"{meaning[0].upper()}{meaning[1:]}.\n\n" if meaning else "")
        )
        parts.append("| typed | answer | programs |\n|---|---|---|\n")
        for (sentence, typed, stays), names in said.items():
            note = f" ({stays})" if stays else ""
            parts.append(f"| `{typed}` | {escaped(sentence)}{note} | {', '.join(names)} |\n")
    return "".join([*parts, not_asked()])


def not_asked() -> str:
    """Markdown: the pairs that make no sense, by their reason."""
    programs: dict[tuple[str, str], list[str]] = {}  # of each reason and kinds
    for program in PROGRAMS:
        kinds: dict[str, list[str]] = {}
        for kind in KINDS:
            if kind not in program.cases:
                kinds.setdefault(why_left_out(program, kind), []).append(kind)
        for reason, found in kinds.items():
            told = "all others" if len(found) > len(KINDS) / 2 else ", ".join(found)
            programs.setdefault((reason, told), []).append(program.name)
    rows = [f"| {reason} | {kinds} | {', '.join(names)} |\n" for (reason, kinds), names in sorted(programs.items())]
    return "".join(["\n## What is not asked\n\n| reason | mistakes | programs |\n|---|---|---|\n", *rows])


def escaped(text: str) -> str:
    """As Markdown shows it word for word in a table."""
    return re.sub(r"([|<>*_])", r"\\\1", text)


def main(arguments: Sequence[str]) -> int:
    """Write the page, or print the answers of some programs."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = make_workspace(Path(folder))
        chosen = [program for program in PROGRAMS if program.name.startswith(tuple(arguments) or "")]
        answers = {
            (program.name, kind): answer(program, kind, workspace)
            for program in chosen
            for kind in KINDS
            if kind in program.cases
        }
    if not arguments:
        if broken := [f"{name}, {kind}: {found.code}" for (name, kind), found in answers.items() if found.code != 2]:
            print(f"{PAGE} is not written, since there is no sentence of", *broken, sep="\n", file=sys.stderr)
            return 1
        PAGE.write_text(page(answers), encoding="utf-8")
        return 0
    for (name, kind), found in answers.items():
        print(f"{name}, {kind}: {found.error} [{found.code}, {found.seconds:.1f} s]")
        for line in (*found.unasked, *found.output.splitlines(), *(f"left: {path}" for path in found.left)):
            print(f"    {line}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
