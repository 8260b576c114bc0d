"""Keys of the seed's default_config.yaml that are no options here: its file is taken, and nothing in it is guessed.

What is spelled in another way there (epoches, lr_init, keep_checkpoint_max ...) the options take as it is; they have
those spellings. The keys below have one value that fits, or say what other programs of the seed were to do.
"""

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

from common import UserError
from common.config import FALSE

log = logging.getLogger(__name__)


class Only(NamedTuple):
    """A key that is accepted with some values."""

    values: tuple[str, ...]
    otherwise: str  # why no other


class Unused(NamedTuple):
    """A key that changes nothing; a line of the log says so."""

    why: str


_MODELARTS = Unused("it is a folder of ModelArts, Huawei's cloud, whose jobs are not made here")
KEYS: dict[str, Only | Unused] = {
    "ext": Only(("sep", "img"), "pictures are decoded when they are needed"),
    "rgb_range": Only(("1", "1.0"), "the network takes values from 0 to 1"),
    "n_colors": Only(("3",), "pictures are RGB"),
    "shift_mean": Only(("true", "yes"), "the mean colour is always subtracted, and added again"),
    "dataset_name": Only(("DIV2K",), "data_train and data_test name the data sets"),
    "rank": Only(("0",), "the launcher gives each worker its number"),
    "momentum": Unused("Adam has beta1"),
    "device_num": Unused("the launcher tells how many workers there are"),
    "load_path": _MODELARTS,
    "output_path": _MODELARTS,
}
EVALUATED = "test_only"  # true in a file for eval.py
STARTS = "pre_trained", "pre_train"  # false: from random weights; the option is a path


def translated(content: Mapping[str, Any], path: str, program: type) -> dict[str, Any]:
    """A file's content without the keys that are no options, and with values as the options take them.

    Args:
        path: names the file in messages.
        program: the configuration class; train.py's has `epochs`.

    Raises:
        UserError: a value that cannot be honoured.
    """
    found = {}
    for key, value in content.items():
        meaning = KEYS.get(key)
        if isinstance(meaning, Only):
            if str(value).lower() not in map(str.lower, meaning.values):
                wanted = " or ".join(meaning.values)
                raise UserError(f"{path}: {key} must be {wanted}, not {value!r}: {meaning.otherwise}")
        elif isinstance(meaning, Unused):
            log.info("%s: %s is not used (%s)", path, key, meaning.why)
        elif key == EVALUATED:
            if str(value).lower() not in FALSE and "epochs" in program.__dataclass_fields__:
                raise UserError(f"{path}: {key} must be false, not {value!r}: eval.py tests a trained network")
        elif key in STARTS:
            found[STARTS[0]] = "" if str(value).lower() in FALSE else value
        elif key == "scale" and isinstance(value, list) and len(value) == 1:
            found[key] = value[0]
        elif key == "no_argument":  # as the seed writes it
            found["no_augment"] = value
        else:
            found[key] = value
    return found
