"""The models' shell scripts as their READMEs call them, and what python must be given; for test_scripts.py."""

import importlib
import itertools
import re
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
MODELS = ("WDSR", "IRN", "SRFlow", "SRDiff", "CSNLN")


class Script(NamedTuple):
    """A script and a good call.

    Attributes:
        path: below the clone.
        usage: names of its words.
        words: shell words of the call, all of which it needs.
        given: words that python gets between the program and the device; {here} and {clone} stand for folders.
        device: that it prefers.
        workers: number of workers it starts; 0: python alone.
    """

    path: str
    usage: str
    words: str
    given: str
    device: str
    workers: int

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
        return getattr(importlib.import_module(f"{self.model}.{self.kind}"), f"{self.kind.capitalize()}Config")


def expanded(pattern: str) -> list[str]:
    """As bash does: a{b,c} -> ab, ac."""
    parts = [part.split(",") for part in re.split(r"[{}]", pattern)]
    return ["".join(words) for words in itertools.product(*parts)]


def scripts(pattern: str, usage: str, words: str, given: str, device: str = "", workers: int = 0) -> list[Script]:
    """The scripts of a pattern; by their names they prefer a device and start two workers or none."""
    return [
        Script(
            path, usage, words, given,
            device or ("Ascend" if "ascend" in path else "GPU" if "gpu" in path else "auto"),
            workers or 2 * ("distribute" in path),
        )
        for path in expanded(pattern)
    ]  # fmt: skip


DATA, CONFIG_DATA = "--dir_data '{here}/my data'", "--config '{here}/my own.yml' --dataset_GT_path '{here}/my data'"
IRN_DATA, OPT = "--scale 4 --dataset_GT_path '{here}/my data'", "--opt '{here}/my own.yml'"
OUR_CONFIG = "--config '{clone}/SRDiff/configs/theirs.yaml' --dataset_GT_path '{here}/my data'"
CHECKPOINT, CSNLN_EVAL = " --ckpt_path {here}/x.ckpt", "--ckpt_file {here}/x.ckpt --data_test Set5"
RANKS = "RANK_TABLE_FILE|DEVICE_NUM"
SCRIPTS = [
    *scripts("WDSR/script/run_{ascend,gpu}_standalone.sh", "DATASET_PATH", "'my data'", DATA),
    *scripts("WDSR/script/run_eval{,_gpu}.sh", "DATASET_PATH CHECKPOINT_PATH DATASET_TYPE", "'my data' x.ckpt Set14",
             f"{DATA} --data_test Set14{CHECKPOINT}"),
    *scripts("WDSR/script/run_ascend_distribute.sh", "RANK_TABLE_FILE|DEVICES DATASET_PATH", "'rank table' 'my data'",
             DATA),
    *scripts("WDSR/script/run_gpu_distribute.sh", "DATASET_PATH DEVICES", "'my data' 2", DATA),
    *scripts("IRN/scripts/run_standalone_train{,_gpu,_ascend}.sh", "SCALE DATASET_GT_PATH", "4 'my data'", IRN_DATA),
    *scripts("IRN/scripts/run_eval{,_gpu,_ascend}.sh", "SCALE DATASET_PATH CHECKPOINT_PATH", "4 'my data' x.ckpt",
             IRN_DATA + CHECKPOINT),
    *scripts("IRN/scripts/run_distribute_train{,_ascend}.sh", f"{RANKS} SCALE DATASET_GT_PATH",
             "'rank table' 4 'my data'", IRN_DATA, "Ascend"),
    *scripts("IRN/scripts/run_distribute_train_gpu.sh", "DEVICE_NUM SCALE DATASET_GT_PATH", "2 4 'my data'", IRN_DATA),
    *scripts("SRFlow/scripts/run_standalone_{train,eval}_{gpu,ascend}.sh", "CONFIG DEVICE_ID", "'my own.yml' 3", OPT),
    *scripts("SRFlow/scripts/run_distribute_train_ascend.sh", f"{RANKS} CONFIG", "'rank table' theirs.yml",
             "--opt '{clone}/SRFlow/theirs.yml'"),
    *scripts("SRFlow/scripts/run_distribute_train_gpu.sh", "DEVICE_NUM CONFIG", "2 'my own.yml'", OPT),
    *scripts("SRDiff/scripts/run_standalone_train_{gpu,ascend}.sh", "CONFIG DATASET_PATH", "'my own.yml' 'my data'",
             CONFIG_DATA),
    *scripts("SRDiff/scripts/run_eval_{gpu,ascend}.sh", "DATASET_PATH CHECKPOINT_PATH", "'my data' x.ckpt",
             "--dataset_GT_path '{here}/my data'" + CHECKPOINT),
    *scripts("SRDiff/scripts/run_distribute_train_ascend.sh", f"{RANKS} CONFIG DATASET_PATH",
             "'rank table' theirs.yaml 'my data'", OUR_CONFIG),
    *scripts("SRDiff/scripts/run_distribute_train_gpu.sh", "DEVICE_NUM CONFIG DATASET_PATH",
             "2 'my own.yml' 'my data'", CONFIG_DATA),
    *scripts("CSNLN/{scripts,script}/run_train_{gpu,ascend}.sh", "DEVICE_NUM DEVICES", "1 3", ""),
    *scripts("CSNLN/{scripts,script}/run_eval_{gpu,ascend}.sh", "CHECKPOINT_PATH [DATASET]", "x.ckpt", CSNLN_EVAL),
]  # fmt: skip
# The same scripts called in another way.
OTHER_CALLS = [
    *scripts("WDSR/script/run_ascend_distribute.sh", "", "2 'my data'", DATA),
    *scripts("IRN/scripts/run_distribute_train.sh", "", "2 4 'my data'", IRN_DATA, "GPU"),
    *scripts("IRN/scripts/run_distribute_train_ascend.sh", "", "2 4 'my data'", IRN_DATA),
    *scripts("SRFlow/scripts/run_distribute_train_ascend.sh", "", "2 both.yml", "--opt '{here}/both.yml'"),
    *scripts("SRDiff/scripts/run_distribute_train_ascend.sh", "", "2 both.yaml 'my data'",
             "--config '{here}/both.yaml' --dataset_GT_path '{here}/my data'"),
    *scripts("CSNLN/scripts/run_train_{gpu,ascend}.sh", "", "2 4,6", "", workers=2),
    *scripts("CSNLN/script/run_eval_{gpu,ascend}.sh", "", "x.ckpt Urban100", CSNLN_EVAL.replace("Set5", "Urban100")),
]  # fmt: skip
ONE_OF_EACH = [
    next(script for script in SCRIPTS if script.model == model and script.kind == "train") for model in MODELS
]

ALONE = "SRFlow/scripts/run_standalone_{train,eval}_{gpu,ascend}.sh"
# What scripts say of their words.
MISTAKES = {
    "DATASET_PATH is not a folder: nope": {
        "WDSR/script/run_gpu_standalone.sh": "nope",
        "WDSR/script/run_ascend_distribute.sh": "2 nope",
        "IRN/scripts/run_eval{,_gpu,_ascend}.sh": "4 nope x.ckpt",
    },
    "DATASET_GT_PATH is not a folder: x.ckpt": {
        "IRN/scripts/run_standalone_train{,_gpu,_ascend}.sh": "4 x.ckpt",
        "IRN/scripts/run_distribute_train{,_gpu,_ascend}.sh": "2 4 x.ckpt",
    },
    "DATASET_PATH is not a file or folder: nope": {
        "SRDiff/scripts/run_standalone_train_{gpu,ascend}.sh": "both.yaml nope",
        "SRDiff/scripts/run_distribute_train_{gpu,ascend}.sh": "2 both.yaml nope",
        "SRDiff/scripts/run_eval_{gpu,ascend}.sh": "nope x.ckpt",
    },
    "CHECKPOINT_PATH is not a file: no.ckpt": {
        "WDSR/script/run_eval.sh": "'my data' no.ckpt Set5",
        "IRN/scripts/run_eval.sh": "4 'my data' no.ckpt",
        "SRDiff/scripts/run_eval_gpu.sh": "'my data' no.ckpt",
        "CSNLN/scripts/run_eval_gpu.sh": "no.ckpt Set5",
    },
    "CONFIG is not a file: sub": {
        ALONE: "sub 0",
        "SRFlow/scripts/run_distribute_train_{gpu,ascend}.sh": "2 sub",
        "SRDiff/scripts/run_standalone_train_gpu.sh": "sub 'my data'",
        "SRDiff/scripts/run_distribute_train_gpu.sh": "2 sub 'my data'",
    },
    "SCALE is not 2, 3, 4 or 8: 5": {
        "IRN/scripts/run_standalone_train.sh": "5 'my data'",
        "IRN/scripts/run_eval.sh": "5 'my data' x.ckpt",
        "IRN/scripts/run_distribute_train.sh": "2 5 'my data'",
    },
    "RANK_TABLE_FILE is not a file: nope": {
        "WDSR/script/run_ascend_distribute.sh": "nope 'my data'",
        "IRN/scripts/run_distribute_train{,_ascend}.sh": "nope 4 'my data'",
        "SRFlow/scripts/run_distribute_train_ascend.sh": "nope both.yml",
        "SRDiff/scripts/run_distribute_train_ascend.sh": "nope both.yaml sub",
    },
    "DEVICE_NUM is not a number of 1 or more: 0": {
        "IRN/scripts/run_distribute_train_gpu.sh": "0 4 'my data'",
        "SRFlow/scripts/run_distribute_train_gpu.sh": "0 both.yml",
        "SRDiff/scripts/run_distribute_train_gpu.sh": "0 both.yaml sub",
        "CSNLN/scripts/run_train_gpu.sh": "0 0",
    },
    "DEVICES is not a number of 1 or more: 0,1": {"WDSR/script/run_gpu_distribute.sh": "'my data' 0,1"},
    "DEVICE_ID is not the number of a device: 0,1": {ALONE: "both.yml 0,1"},
    "DEVICES names 1 device(s), but DEVICE_NUM is 2: 0": {"CSNLN/scripts/run_train_gpu.sh": "2 0"},
    "DEVICES is not a list of numbers as 0,1,2: 0,": {"CSNLN/scripts/run_train_gpu.sh": "2 0,"},
}


def in_the_tree(folder: Path = ROOT) -> set[str]:
    """Paths of all scripts of the models, without what they source."""
    found = (path for model in MODELS for path in (folder / model).glob("script*/*.sh"))
    return {path.relative_to(folder).as_posix() for path in found if path.name not in HELPERS}
