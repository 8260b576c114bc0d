"""The programs, each with a command line that would do its work and its mistakes, and what is not asked of which."""

import fnmatch

from ci.bad_input.mistakes import (
    FILE,
    FOLDER,
    FOLDER_STAYS,
    KINDS,
    PARSED,
    PICTURES,
    RUN_STAYS,
    SAVE,
    SETTINGS_STAY,
    Case,
    Program,
    hr_pictures,
    named_sets,
    runs,
    weights,
)

NAMED_SETS = "--data_train DIV2K --data_range 1-2/3-4 --data_test Set5"
IRN_TINY = "--block_num 1 --growth 2"
SRFLOW_TINY = "--num_features 4 --num_blocks 1 --stack 0 --flow_steps 1 --hidden_channels 4 --growth 2"
SRDIFF_TINY = "--model srdiff_small --hidden_size 4 --rrdb_num_feat 4 --rrdb_num_block 2 --unet_dim_mults 1,2"


def of_named_sets(
    model: str, data: str, start: str, trained: str, train: str, nothing: tuple[str, str], infer: dict, export: str
) -> list[Program]:
    """The programs of a model whose data sets are told by name.

    Args:
        data, start, trained: flags of the data's folder, of the weights to start from, of those to use.
        train: words of a small training.
        nothing: what train.py and eval.py name when the folder is left out.
        infer: mistakes of infer.py alone.
        export: words out of range for export.py.
    """
    checkpoint = f"weights/{model}.ckpt"
    return [
        Program(
            f"{model}/train.py",
            f"{model}.train",
            f"{data} data {NAMED_SETS} {train} --save_dir out",
            {
                **PARSED,
                **weights(start, model, 2, train=True),
                **runs(model),
                **SAVE,
                **named_sets(data, "--data_train"),
                "wrong type": "--epochs many",
                "out of range": "--batch_size 0",
                "picture too small": ("--patch_size 960", "960"),
                "validation picture too small": ("--data_test dots", "dot"),
                "no such validation pictures": "--data_test Set99",
                "left out": Case(names=(nothing[0],), without=(data,)),
                "truncated picture": Case("--data_train cut", ("cut/0001.png",), leaves=RUN_STAYS),
                "sizes do not match": Case(
                    "--data_train missized", ("missized", "0001x2.png", "10x10"), leaves=RUN_STAYS
                ),
                "folder as file": "--data_train folder.mindrecord",
            },
        ),
        Program(
            f"{model}/eval.py",
            f"{model}.eval",
            f"{data} data --data_test Set5 {trained} {checkpoint} --engine mindspore --output out",
            {
                **PARSED,
                "picture too small": ("--data_test dots", "dot"),
                **weights(trained, model, 4),
                **FOLDER,
                **named_sets(data, "--data_test"),
                "wrong type": "--limit many",
                "out of range": "--limit -1",
                "left out": Case(names=(nothing[1],), without=(data,)),
            },
        ),
        Program(
            f"{model}/infer.py",
            f"{model}.infer",
            f"--input a.png {trained} {checkpoint} --engine mindspore --output out",
            {
                **PARSED,
                **weights(trained, model, 4),
                **FOLDER,
                **PICTURES,
                **infer,
            },
        ),
        Program(
            f"{model}/export.py",
            f"{model}.export",
            f"{trained} {checkpoint} --file_name out/net",
            {
                **PARSED,
                **weights(trained, model, 4),
                **FILE,
                "wrong type": "--batch_size many",
                "out of range": export,
            },
        ),
    ]


WDSR = of_named_sets(
    "WDSR",
    data="--dir_data",
    start="--ckpt_path",
    trained="--ckpt_path",
    train="--patch_size 16 --n_resblocks 1 --n_feats 4",
    nothing=("DIV2K", "Set5"),
    infer={"wrong type": "--tile large", "out of range": "--tile -1"},
    export="--batch_size 0",
)

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
            "unknown choice": "--format tiff",
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
            "unknown choice": "--format tiff",
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
            "unknown choice": "--format tiff",
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
            "unknown choice": "--format tiff",
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
            "unknown choice": "--format tiff",
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

CSNLN = of_named_sets(
    "CSNLN",
    data="--data_path",
    start="--pre_trained",
    trained="--ckpt_file",
    train="--patch_size 24 --n_feats 4 --depth 1",
    nothing=("--data_path", "--data_path"),
    infer={
        "wrong type": "--attention here",
        "out of range": "--attention_memory 0",
        "unknown choice": "--format tiff",
    },
    export="--lr_width 0",
)

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
        for command, words in {"verify": "", "info": "", "unpack": "--output out"}.items()
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
    (
        ("another scale's checkpoint",),
        "WDSR/train.py CSNLN/train.py IRN/train.py SRDiff/train.py",
        "a training starts from what fits of it",
    ),
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
    (tuple(KINDS), "*mindrecord verify;*mindrecord info;*mindrecord unpack", "it takes one path"),
)


def why_left_out(program: Program, kind: str) -> str:
    """Why a program is not asked about a kind of mistake; "" when there is no reason."""
    for kinds, patterns, reason in LEFT_OUT:
        words = patterns.split(";") if ";" in patterns else patterns.split()
        if kind in kinds and any(fnmatch.fnmatchcase(program.name, word) for word in words):
            return reason
    return ""
