"""The kinds of wrong input, and the words that spoil a command line, where several programs take the same."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

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
        wrong = shlex.split(case.words)
        for name in (*case.without, *({"--input"} & set(good) & set(wrong))):  # of two --input both would be taken
            place = good.index(name)
            del good[place : place + 2]
        return [*shlex.split(self.command), *good, *wrong]


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
