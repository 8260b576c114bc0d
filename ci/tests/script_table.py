"""The models' shell scripts as their READMEs call them, and what python must be given; for test_scripts.py."""

import importlib
import shlex
from pathlib import Path
from typing import NamedTuple

from ci.tests.clone import ROOT

# What the caller's folder holds; a name that ends in / is a folder.
HERE = ("my data/", "sub/", "x.ckpt", "my own.yml", "both.yml", "both.yaml", "sub/theirs.yml", "sub/theirs.yaml")
TABLE = {"server_list": [{"server_id": "a", "device": [{"device_id": "0"}, {"device_id": "1"}]}]}  # `rank table`
# What stands in the clones besides.
OURS = {"SRFlow": ("theirs.yml", "both.yml"), "SRDiff": ("configs/theirs.yaml", "configs/both.yaml")}
HELPERS = {"devices.sh", "configured.sh"}  # sourced by the scripts beside them
OPTIONS = {
    "WDSR": ("args.TrainConfig", "args.EvalConfig"),
    "IRN": ("options.options.TrainConfig", "options.options.EvalConfig"),
    "SRFlow": ("model_utils.options.TrainConfig", "model_utils.use_options.EvalConfig"),
    "SRDiff": ("model_utils.options.TrainConfig", "model_utils.use_options.EvalConfig"),
    "CSNLN": ("config.TrainConfig", "config.EvalConfig"),
}


class Script(NamedTuple):
    """A script and a good call.

    Attributes:
        path: below the clone.
        device: that it prefers.
        usage: names of its words.
        words: shell words of the call, all of which it needs.
        given: words that python gets between the program and the device; {here} and {clone} stand for folders.
        workers: number of workers it starts; 0: python alone.
    """

    path: str
    device: str
    usage: str
    words: str
    given: str
    workers: int = 0

    @property
    def model(self) -> str:
        """Name of its model."""
        return self.path.partition("/")[0]

    @property
    def kind(self) -> str:
        """train or eval: the program, and its log."""
        return "eval" if "eval" in self.path else "train"

    def call(self) -> list[str]:
        """The words of the call."""
        return shlex.split(self.words)

    def wanted(self, clone: Path, here: Path) -> list[str]:
        """The program and its words, up to the device."""
        folders = {"clone": clone, "here": here}
        return [str(clone / self.model / f"{self.kind}.py"), *(w.format(**folders) for w in shlex.split(self.given))]

    def options(self) -> type:
        """The configuration class of the program."""
        train, evaluate = OPTIONS[self.model]
        module, _, name = (evaluate if self.kind == "eval" else train).rpartition(".")
        return getattr(importlib.import_module(f"{self.model}.src.{module}"), name)


def of_devices(path: str, *words: str, ends: dict[str, str] | None = None, **more: int) -> list[Script]:
    """The scripts that differ in the device alone; {} in the path is its ending."""
    ends = {"gpu": "GPU", "ascend": "Ascend"} if ends is None else ends
    return [Script(path.format(end), device, *words, **more) for end, device in ends.items()]


WITHOUT = {"": "auto", "_gpu": "GPU", "_ascend": "Ascend"}
RANKS, COUNT = "RANK_TABLE_FILE|DEVICE_NUM", "DEVICE_NUM"
DATA, CONFIG_DATA = "--dir_data '{here}/my data'", "--config '{here}/my own.yml' --dataset_GT_path '{here}/my data'"
IRN_DATA, OPT = "--scale 4 --dataset_GT_path '{here}/my data'", "--opt '{here}/my own.yml'"
CSNLN_EVAL = "--ckpt_file {here}/x.ckpt --data_test Set5"
SCRIPTS = [
    Script("WDSR/script/run_ascend_standalone.sh", "Ascend", "DATASET_PATH", "'my data'", DATA),
    Script("WDSR/script/run_gpu_standalone.sh", "GPU", "DATASET_PATH", "'my data'", DATA),
    *of_devices(
        "WDSR/script/run_eval{}.sh",
        "DATASET_PATH CHECKPOINT_PATH DATASET_TYPE",
        "'my data' x.ckpt Set14",
        DATA + " --data_test Set14 --ckpt_path {here}/x.ckpt",
        ends={"": "auto", "_gpu": "GPU"},
    ),
    Script("WDSR/script/run_ascend_distribute.sh", "Ascend", "RANK_TABLE_FILE|DEVICES DATASET_PATH",
           "'rank table' 'my data'", DATA, 2),
    Script("WDSR/script/run_gpu_distribute.sh", "GPU", "DATASET_PATH DEVICES", "'my data' 2", DATA, 2),
    *of_devices(
        "IRN/scripts/run_standalone_train{}.sh", "SCALE DATASET_GT_PATH", "4 'my data'", IRN_DATA, ends=WITHOUT
    ),
    *of_devices(
        "IRN/scripts/run_eval{}.sh",
        "SCALE DATASET_PATH CHECKPOINT_PATH",
        "4 'my data' x.ckpt",
        IRN_DATA + " --ckpt_path {here}/x.ckpt",
        ends=WITHOUT,
    ),
    Script("IRN/scripts/run_distribute_train.sh", "Ascend", f"{RANKS} SCALE DATASET_GT_PATH",
           "'rank table' 4 'my data'", IRN_DATA, 2),
    Script("IRN/scripts/run_distribute_train_ascend.sh", "Ascend", f"{RANKS} SCALE DATASET_GT_PATH",
           "'rank table' 4 'my data'", IRN_DATA, 2),
    Script("IRN/scripts/run_distribute_train_gpu.sh", "GPU", f"{COUNT} SCALE DATASET_GT_PATH",
           "2 4 'my data'", IRN_DATA, 2),
    *of_devices("SRFlow/scripts/run_standalone_train_{}.sh", "CONFIG DEVICE_ID", "'my own.yml' 3", OPT),
    *of_devices("SRFlow/scripts/run_standalone_eval_{}.sh", "CONFIG DEVICE_ID", "'my own.yml' 3", OPT),
    Script("SRFlow/scripts/run_distribute_train_ascend.sh", "Ascend", f"{RANKS} CONFIG",
           "'rank table' theirs.yml", "--opt '{clone}/SRFlow/theirs.yml'", 2),
    Script("SRFlow/scripts/run_distribute_train_gpu.sh", "GPU", f"{COUNT} CONFIG", "2 'my own.yml'", OPT, 2),
    *of_devices(
        "SRDiff/scripts/run_standalone_train_{}.sh", "CONFIG DATASET_PATH", "'my own.yml' 'my data'", CONFIG_DATA
    ),
    *of_devices(
        "SRDiff/scripts/run_eval_{}.sh",
        "DATASET_PATH CHECKPOINT_PATH",
        "'my data' x.ckpt",
        "--dataset_GT_path '{here}/my data' --ckpt_path {here}/x.ckpt",
    ),
    Script("SRDiff/scripts/run_distribute_train_ascend.sh", "Ascend", f"{RANKS} CONFIG DATASET_PATH",
           "'rank table' theirs.yaml 'my data'",
           "--config '{clone}/SRDiff/configs/theirs.yaml' --dataset_GT_path '{here}/my data'", 2),
    Script("SRDiff/scripts/run_distribute_train_gpu.sh", "GPU", f"{COUNT} CONFIG DATASET_PATH",
           "2 'my own.yml' 'my data'", CONFIG_DATA, 2),
    *(
        script
        for folder in ("scripts", "script")
        for script in (
            *of_devices(f"CSNLN/{folder}/run_train_{{}}.sh", "DEVICE_NUM DEVICES", "1 3", ""),
            *of_devices(f"CSNLN/{folder}/run_eval_{{}}.sh", "CHECKPOINT_PATH [DATASET]", "x.ckpt", CSNLN_EVAL),
        )
    ),
]  # fmt: skip
# The same scripts called in another way.
OTHER_CALLS = [
    Script("WDSR/script/run_ascend_distribute.sh", "Ascend", "", "2 'my data'", DATA, 2),
    Script("IRN/scripts/run_distribute_train.sh", "GPU", "", "2 4 'my data'", IRN_DATA, 2),
    Script("IRN/scripts/run_distribute_train_ascend.sh", "Ascend", "", "2 4 'my data'", IRN_DATA, 2),
    Script("SRFlow/scripts/run_distribute_train_ascend.sh", "Ascend", "", "2 both.yml",
           "--opt '{here}/both.yml'", 2),
    Script("SRDiff/scripts/run_distribute_train_ascend.sh", "Ascend", "", "2 both.yaml 'my data'",
           "--config '{here}/both.yaml' --dataset_GT_path '{here}/my data'", 2),
    *of_devices("CSNLN/scripts/run_train_{}.sh", "", "2 4,6", "", workers=2),
    *of_devices("CSNLN/script/run_eval_{}.sh", "", "x.ckpt Urban100", CSNLN_EVAL.replace("Set5", "Urban100")),
]  # fmt: skip
ONE_OF_EACH = [
    next(script for script in SCRIPTS if script.model == model and script.kind == "train") for model in OPTIONS
]

ALONE = [f"SRFlow/scripts/run_standalone_{kind}_{end}.sh" for kind in ("train", "eval") for end in ("gpu", "ascend")]
SRDIFF = "SRDiff/scripts/run_standalone_train_gpu.sh"
# What a script says of its words: (path, words) of each.
MISTAKES = {
    "DATASET_PATH is not a folder: nope": [
        ("WDSR/script/run_gpu_standalone.sh", "nope"),
        ("WDSR/script/run_ascend_distribute.sh", "2 nope"),
        *((f"IRN/scripts/run_eval{end}.sh", "4 nope x.ckpt") for end in WITHOUT),
    ],
    "DATASET_GT_PATH is not a folder: x.ckpt": [
        *((f"IRN/scripts/run_standalone_train{end}.sh", "4 x.ckpt") for end in WITHOUT),
        *((f"IRN/scripts/run_distribute_train{end}.sh", "2 4 x.ckpt") for end in WITHOUT),
    ],
    "DATASET_PATH is not a file or folder: nope": [
        (SRDIFF, "both.yaml nope"),
        *((f"SRDiff/scripts/run_distribute_train_{end}.sh", "2 both.yaml nope") for end in ("gpu", "ascend")),
        *((f"SRDiff/scripts/run_eval_{end}.sh", "nope x.ckpt") for end in ("gpu", "ascend")),
    ],
    "CHECKPOINT_PATH is not a file: no.ckpt": [
        ("WDSR/script/run_eval.sh", "'my data' no.ckpt Set5"),
        ("IRN/scripts/run_eval.sh", "4 'my data' no.ckpt"),
        ("SRDiff/scripts/run_eval_gpu.sh", "'my data' no.ckpt"),
        ("CSNLN/scripts/run_eval_gpu.sh", "no.ckpt Set5"),
    ],
    "CONFIG is not a file: sub": [
        *((path, "sub 0") for path in ALONE),
        *((f"SRFlow/scripts/run_distribute_train_{end}.sh", "2 sub") for end in ("gpu", "ascend")),
        (SRDIFF, "sub 'my data'"),
        ("SRDiff/scripts/run_distribute_train_gpu.sh", "2 sub 'my data'"),
    ],
    "SCALE is not 2, 3, 4 or 8: 5": [
        ("IRN/scripts/run_standalone_train.sh", "5 'my data'"),
        ("IRN/scripts/run_eval.sh", "5 'my data' x.ckpt"),
        ("IRN/scripts/run_distribute_train.sh", "2 5 'my data'"),
    ],
    "RANK_TABLE_FILE is not a file: nope": [
        ("WDSR/script/run_ascend_distribute.sh", "nope 'my data'"),
        ("IRN/scripts/run_distribute_train.sh", "nope 4 'my data'"),
        ("IRN/scripts/run_distribute_train_ascend.sh", "nope 4 'my data'"),
        ("SRFlow/scripts/run_distribute_train_ascend.sh", "nope both.yml"),
        ("SRDiff/scripts/run_distribute_train_ascend.sh", "nope both.yaml sub"),
    ],
    "DEVICE_NUM is not a number of 1 or more: 0": [
        ("IRN/scripts/run_distribute_train_gpu.sh", "0 4 'my data'"),
        ("SRFlow/scripts/run_distribute_train_gpu.sh", "0 both.yml"),
        ("SRDiff/scripts/run_distribute_train_gpu.sh", "0 both.yaml sub"),
        ("CSNLN/scripts/run_train_gpu.sh", "0 0"),
    ],
    "DEVICES is not a number of 1 or more: 0,1": [("WDSR/script/run_gpu_distribute.sh", "'my data' 0,1")],
    "DEVICE_ID is not the number of a device: 0,1": [(path, "both.yml 0,1") for path in ALONE],
    "DEVICES names 1 device(s), but DEVICE_NUM is 2: 0": [("CSNLN/scripts/run_train_gpu.sh", "2 0")],
    "DEVICES is not a list of numbers as 0,1,2: 0,": [("CSNLN/scripts/run_train_gpu.sh", "2 0,")],
}


def in_the_tree(folder: Path = ROOT) -> set[str]:
    """Paths of all scripts of the models, without what they source."""
    found = (path for model in OPTIONS for path in (folder / model).glob("script*/*.sh"))
    return {path.relative_to(folder).as_posix() for path in found if path.name not in HELPERS}
