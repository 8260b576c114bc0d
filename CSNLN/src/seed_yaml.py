"""Keys of the seed's default_config.yaml that are no options here: its file is taken, and nothing in it is guessed.

What is spelled in another way there (epoches, lr_init, keep_checkpoint_max ...) the options take as it is; they have
those spellings. The keys below have one value that fits, or say what other programs of the seed were to do.
"""

from collections.abc import Mapping
from typing import Any

from common.config import FALSE, Meaning, Only, Unused, from_table

_MODELARTS = Unused("it is a folder of ModelArts, Huawei's cloud, whose jobs are not made here")
KEYS: dict[str, Meaning] = {
    "ext": Only("sep|img", "pictures are decoded when they are needed"),
    "rgb_range": Only("1|1.0", "the network takes values from 0 to 1"),
    "n_colors": Only("3", "pictures are RGB"),
    "shift_mean": Only("true|yes", "the mean colour is always subtracted, and added again"),
    "dataset_name": Only("DIV2K", "data_train and data_test name the data sets"),
    "rank": Only("0", "the launcher gives each worker its number"),
    "momentum": Unused("Adam has beta1"),
    "device_num": Unused("the launcher tells how many workers there are"),
    "load_path": _MODELARTS,
    "output_path": _MODELARTS,
    "pre_train": "pre_trained",
    "no_argument": "no_augment",
}
NOT_TESTED = Only("false", "eval.py tests a trained network")


def translated(content: Mapping[str, Any], path: str, program: type) -> dict[str, Any]:
    """A file's content without the keys that are no options, and with values as the options take them.

    Args:
        path: names the file in messages.
        program: the configuration class; train.py's has `epochs`.

    Raises:
        UserError: a value that cannot be honoured.
    """
    test_only = NOT_TESTED if "epochs" in program.__dataclass_fields__ else None
    content = {key: "false" if key == "test_only" and value in FALSE else value for key, value in content.items()}
    found = from_table(content, {**KEYS, "test_only": test_only}, path)
    if str(found.get("pre_trained", "")).lower() in FALSE:  # from random weights; the option is a path
        found["pre_trained"] = ""
    if isinstance(found.get("scale"), list) and len(found["scale"]) == 1:
        found["scale"] = found["scale"][0]
    return found
