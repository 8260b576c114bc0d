"""The programs, what can be wrong in a command line, and the folder in which it is; for test_wrong_input.py.

What the five models have in common is written once, with a model's own words in braces: see `MODELS`.
"""

import os
import pickle
import re
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ci.tests.specs import BY_NAME, SPECS
from common.checkpoint import read
from common.images import write_image
from SRFlow.src.model.SRFlowNet import draw_latents
from SRFlow.src.model_utils.inference import Latents, write_latents
from SRFlow.src.model_utils.util import digest_of

# Model -> its words: folder of the data, weights to start from, weights to use, scale, a small training.
PATHS = {"data": "--dataset_GT_path", "start": "--ckpt_path", "used": "--ckpt_path", "graph": ""}
MODELS = {
    "WDSR": {**PATHS, "data": "--dir_data", "scale": 2, "small": "--patch_size 16 --n_resblocks 1 --n_feats 4"},
    "IRN": {
        **PATHS,
        "scale": 2,
        "small": "--scale 2 --patch_size 16 --block_num 1 --growth 2",
        "graph": "--graph downscale",
    },
    "SRFlow": {
        **PATHS,
        "scale": 4,
        "small": "--stage rrdb --patch_size 32 --num_features 4 --num_blocks 1 --stack 0 --flow_steps 1 "
        "--hidden_channels 4 --growth 2",
        "graph": "--graph decode",
    },
    "SRDiff": {
        **PATHS,
        "scale": 4,
        "small": "--stage rrdb --patch_size 32 --model srdiff_small --hidden_size 4 --rrdb_num_feat 4 "
        "--rrdb_num_block 2 --unet_dim_mults 1,2",
        "graph": "--graph encoder",
    },
    "CSNLN": {
        **PATHS,
        "data": "--data_path",
        "start": "--pre_trained",
        "used": "--ckpt_file",
        "scale": 2,
        "small": "--patch_size 24 --n_feats 4 --depth 1",
    },
}
MISTAKES = {  # "without --x": the option is left out
    "options": "--device_targt CPU; --config; --config nowhere.yaml; --config empty; --config broken.yaml; "
    "--config unknown.yaml",
    "device": "--config wrong.yaml; --device_target Abacus; --device_target Ascend",
    "weights": "{flag} nowhere.ckpt; {flag} empty; {flag} void.ckpt; {flag} cut.ckpt; {flag} text.ckpt; {flag} a.png; "
    "{flag} code.pth; {flag} weights/{other}.ckpt",
    "scale": "--scale {other_scale}",
    "resume": "--resume nowhere; --resume empty; --resume weights/{model}.ckpt; --resume weights/{other}.ckpt",
    "train": "--batch_size 0; --patch_size 960; --save_dir a.txt/out; --save_dir a.txt",
    "sets": "without {data}; {data} nowhere; {data} a.txt; {sets} Set99; {sets} empty; {sets} folder.mindrecord; "
    "{sets} cut; {sets} words; {sets} missized; {sets} lacking",
    "pairs": "without {data}; {data} nowhere; {data} a.txt; {data} empty; {data} folder.mindrecord; {data} cut; "
    "{data} words; --dataset_LQ_path nowhere; {data} missized/HR --dataset_LQ_path images; "
    "{data} missized/HR --dataset_LQ_path missized/LR_bicubic/X{scale}",
    "validation sets": "--data_test dots; --data_test Set99",
    "validation pairs": "--val_GT_path dots; --val_GT_path nowhere",
    "eval sets": "--data_test dots; --limit many; --limit -1",
    "eval pairs": "{data} dots; --data_test Set99; --limit many",
    "output": "--output a.txt/out; --output a.txt",
    "runner": "--precision float16; --provider CUDA --engine mindspore",
    "images": "without --input; --input nowhere.png; --input empty; --input a.txt; --input cut/0001.png; "
    "--input words/0001.png",
    "latents": "without --input; --input nowhere.npz; --input empty; --input a.txt; --input cut.npz; --input words.npz",
    "export": "--file_name a.txt/net; --file_name folder; --batch_size many; --batch_size 0",
    "mindrecord": "; nowhere.mindrecord; folder.mindrecord; a.txt; --outpt x",
}
OWN = {  # mistakes that one program can be given
    "WDSR/train.py": "--epochs many",
    "WDSR/infer.py": "--tile large; --tile -1; --tile_batch 0",
    "IRN/train.py": "--niter many; --lr_scheme MultiStep",
    "IRN/eval.py": "--draws 0",
    "IRN/infer.py downscale": "--tile large; --tile -1; --format tiff; --input dot.png",
    "IRN/infer.py upscale": "--samples many; --samples 0; --format tiff",
    "IRN/export.py": "--graph upscle",
    "SRFlow/train.py": "--niter many; --stage flw; "
    "--scale 8 --patch_size 64 --num_blocks 2 --ckpt_path weights/SRFlow.ckpt",
    "SRFlow/eval.py": "--heats hot; --heat -1; --protocol tables",
    "SRFlow/infer.py": "--heat hot; --samples 0; --format tiff",
    "SRFlow/infer.py encode": "--tile large; --tile -1; --lr nowhere; --lr images --input missized/HR/0001.png; "
    "--input missized/HR/0001.png --lr missized/LR_bicubic/X4",
    "SRFlow/infer.py decode": "--tile large; --tile -1; --format tiff",
    "SRFlow/infer.py interpolate": "--steps many; --steps 1; --format tiff; --input b.npz",
    "SRFlow/export.py": "--graph decod",
    "SRDiff/train.py": "--max_updates many; --val_sampler ddmi",
    "SRDiff/eval.py": "--steps many; --steps 11; --sampler ddmi; --cut_to 96",
    "SRDiff/infer.py": "--steps many; --steps 11; --sampler ddmi; --box 0,0,8,8 --fuse empty; "
    "--box 0,0,8,8 --fuse b.png",
    "SRDiff/export.py": "--graph decoder",
    "CSNLN/train.py": "--epochs many",
    "CSNLN/infer.py": "--attention here; --attention_memory 0; --format tiff",
    "CSNLN/export.py": "--lr_width 0",
}
SETS, PAIRS = ("WDSR", "CSNLN"), ("IRN", "SRFlow", "SRDiff")  # images by the name of their set, by their folder
OF_MODELS = (  # program, the models that have it, a command line that would do its work, kinds of mistakes
    (
        "train.py",
        SETS,
        "{data} data --data_train DIV2K --data_range 1-2/3-4 --data_test Set5 {small} --save_dir out",
        ("resume", "train", "sets", "validation sets"),
    ),
    ("train.py", PAIRS, "{data} data/DIV2K {small} --save_dir out", ("resume", "train", "pairs", "validation pairs")),
    ("eval.py", SETS, "{data} data --data_test Set5 {use}", ("scale", "output", "runner", "sets", "eval sets")),
    ("eval.py", PAIRS, "{data} data/benchmark/Set5 {use}", ("scale", "output", "runner", "pairs", "eval pairs")),
    ("infer.py", ("WDSR", "SRFlow", "SRDiff", "CSNLN"), "--input a.png {use}", ("scale", "output", "runner", "images")),
    ("infer.py downscale", ("IRN",), "--input a.png {use}", ("scale", "output", "runner", "images")),
    ("infer.py upscale", ("IRN",), "--input a.png {use}", ("scale", "output", "runner", "images")),
    ("infer.py encode", ("SRFlow",), "--input a.png {use}", ("scale", "output", "runner", "images")),
    ("infer.py decode", ("SRFlow",), "--input a.npz {use}", ("scale", "output", "runner", "latents")),
    ("infer.py interpolate", ("SRFlow",), "a.npz --input a.npz {use}", ("scale", "output", "runner", "latents")),
    ("export.py", MODELS, "{used} weights/{model}.ckpt --file_name out/net {graph}", ("scale", "export")),
)
PACK = "without --root; --root nowhere; --root empty; --root a.txt; --output a.txt/out; --output a.txt; "
OTHERS = {  # program -> (a command line that would do its work, kinds of mistakes, mistakes of its own)
    "SRFlow/train2test.py": (
        "--train_path weights/SRFlow.ckpt --test_path out/net.ckpt",
        ("options", "device", "weights"),
        "without --test_path; --test_path a.txt/net.ckpt; --test_path folder.ckpt; --test_path net.onnx",
    ),
    "SRFlow/src/dataset/prepare.py": (
        "--root data/DIV2K --split train --patch_size 16 --crops 1 --output out",
        ("options",),
        PACK + "--split tran; --crops many; --crops 0; --root cut; --root words; --patch_size 960",
    ),
    "SRDiff/src/dataset/div2k_preprocess.py": (
        "--root data/DIV2K --dataset div2k --crop_size 16 --num_workers 1 --output out",
        ("options",),
        PACK + "without --dataset; --dataset div; --crop_size many; --crop_size 0; --dataset flickr2k --root cut; "
        "--dataset flickr2k --root words; --dataset set5 --root dots; --dataset set5 --root missized; "
        "--dataset set5 --root lacking",
    ),
    "IRN/infer.py": ("", (), "; upscle a.png"),
    "SRFlow/infer.py": ("", (), "enocde a.png"),
    "python -m common.metrics": (
        "images images --scale 2",
        (),
        "--protocl rgb; --protocol bgr; --crop many; --crop 99; --lr nowhere; --lpips_weights nowhere; "
        "--csv a.txt/x.csv",
    ),
    "python -m common.mindrecord": ("", (), "; pak"),
    "python -m common.mindrecord pack": (
        "--hr images --scale 2 --output out/x.mindrecord",
        (),
        "without --hr; --hr nowhere; --hr empty; --hr a.txt; --hr cut; --hr words; --lr nowhere; "
        "--hr missized/HR --lr images; --hr missized/HR --lr missized/LR_bicubic/X2; --patch 960; --patch many; "
        "--patch -1; --encodin png; --encoding pgn; --seed; --output a.txt/x.mindrecord; --output folder.mindrecord",
    ),
    "python -m common.mindrecord verify": ("", ("mindrecord",), ""),
    "python -m common.mindrecord info": ("", ("mindrecord",), ""),
    "python -m common.mindrecord unpack": ("--output out", ("mindrecord",), ""),
}


class Program(NamedTuple):
    """An entry point.

    Attributes:
        name: as it is typed, with its command.
        good: the rest of a command line that would do its work.
        mistakes: what is added to it, where the last one counts.
    """

    name: str
    good: str
    mistakes: list[str]

    @property
    def module(self) -> str:
        """The module that has its `main`."""
        path = self.name.removeprefix("python -m ").split()[0]
        return path[:-3].replace("/", ".") if path.endswith(".py") else f"{path}.__main__"

    @property
    def command(self) -> list[str]:
        """The words before all others."""
        return self.name.removeprefix("python -m ").split()[1:]

    def words(self, mistake: str) -> list[str]:
        """All words after the program, with a mistake."""
        good, wrong = self.good, mistake
        if mistake.startswith("without "):
            good, wrong = re.sub(rf"{mistake.split()[1]} \S+", "", good), ""
        elif "--input" in mistake:  # of two, both would be taken
            good = re.sub(r"--input \S+", "", good)
        return [*self.command, *good.split(), *wrong.split()]


def program(name: str, good: str, kinds: Iterable[str] = (), own: str = "", **words: object) -> Program:
    """The words are put in wherever the texts have them in braces."""
    texts = [*(MISTAKES[kind] for kind in kinds), *([own] if own else [])]
    mistakes = [mistake.strip() for text in texts for mistake in text.format(**words).split(";")]
    return Program(name, good.format(**words), mistakes)


def programs() -> Iterator[Program]:
    """Yield all programs, model by model."""
    for model, words in MODELS.items():
        use = f"{words['used']} weights/{model}.ckpt --engine mindspore --output out"
        others = {"other": "WDSR" if model == "IRN" else "IRN", "other_scale": 2 * words["scale"]}
        for name, models, good, kinds in OF_MODELS:
            if model in models:
                start = name == "train.py"
                flag, sets = (words["start"], "--data_train") if start else (words["used"], "--data_test")
                filled = {**words, **others, "model": model, "use": use, "flag": flag, "sets": sets}
                own = OWN.get(f"{model}/{name}", "")
                yield program(f"{model}/{name}", good, ("options", "device", "weights", *kinds), own, **filled)
    for name, given in OTHERS.items():
        yield program(name, *given, flag="--train_path", other="IRN")


PROGRAMS = list(programs())


def make_workspace(folder: Path) -> Path:
    """Write whole and spoiled files of every sort; returns the folder, resolved."""
    folder, rng = folder.resolve(), np.random.default_rng(0)
    sizes = {f"data/DIV2K/DIV2K_train_HR/000{number}.png": 64 for number in range(1, 5)}
    sizes |= dict.fromkeys(("a.png", "images/a.png", "data/benchmark/Set5/HR/a.png", "cut/0001.png"), 64)
    sizes |= {"b.png": 32, "dot.png": 1, "dots/dot.png": 1, "missized/HR/0001.png": 64, "lacking/HR/0001.png": 64}
    for scale in (2, 4):
        sizes[f"missized/LR_bicubic/X{scale}/0001x{scale}.png"] = 10
        sizes[f"lacking/LR_bicubic/X{scale}/0002x{scale}.png"] = 64 // scale
    for name, side in sizes.items():
        write_image(folder / name, rng.integers(0, 256, (side, side, 3), dtype=np.uint8))
    graphs = ("", "_downscale", "_decode", "_encoder")
    for name in ("empty", "words", "folder.mindrecord", "folder.ckpt", *(f"folder{graph}.mindir" for graph in graphs)):
        (folder / name).mkdir()
    texts = dict.fromkeys(("a.txt", "words/0001.png", "words.npz", "text.ckpt"), "These are words.\n")
    texts |= {"broken.yaml": "device_target: [CPU\n", "unknown.yaml": "device_targt: CPU\n"}
    texts |= {"wrong.yaml": "device_target: Abacus\n", "void.ckpt": ""}
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    for spec in SPECS:
        spec.save(folder / "weights" / f"{spec.name}.ckpt")
    write_example_latents(folder)
    for whole, cut in {"cut/0001.png": "cut/0001.png", "a.npz": "cut.npz", "weights/IRN.ckpt": "cut.ckpt"}.items():
        (folder / cut).write_bytes((folder / whole).read_bytes()[:2000])
    with zipfile.ZipFile(folder / "code.pth", "w") as archive:  # whoever unpickles it runs `touch ran`
        archive.writestr("code/data.pkl", pickle.dumps({"weight": Run()}, protocol=2))
        archive.writestr("code/version", "3\n")
    return folder


def write_example_latents(folder: Path) -> None:
    """Write what SRFlow's infer.py encode might have written for two images of 32x32."""
    hyper = BY_NAME["SRFlow"].network().hyper
    digest = digest_of(hyper, read(folder / "weights" / "SRFlow.ckpt"))
    for seed, name in enumerate(("a.npz", "b.npz")):
        rng = np.random.default_rng(seed)
        lr = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        write_latents(folder / name, Latents(draw_latents(hyper, (1, 8, 8), 1.0, rng), lr, 32, 32, digest))


class Run:
    """A command that runs when it is unpickled."""

    def __reduce__(self) -> tuple:
        return os.system, ("touch ran",)
