"""Configuration: every value arrives as it was written, and every mistake is named with its source, key and remedy."""

import dataclasses
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

from ci.options_table import MODELS, programs
from common import UserError
from common.config import options as config
from common.config.options import option


@dataclass(frozen=True)
class Options:
    epochs: int = option(10, "how long", at_least=1)
    lr: float = option(1e-4, "rate", at_least=0)
    beta: float = option(0.9, "decay, 10 % a step", below=1)
    name: str = option("", "of the run; default: the date")
    track: str = option("bicubic", "which", choices=("bicubic", "unknown"))
    scale: int = option(2, "times", choices=(2, 3, 4), aliases=("upscale",))
    augment: bool = option(True, "flip")
    quiet: bool = option(False, "say less")
    join: bool | None = option(None, "join others; default: when there are any")
    crop: int | None = option(None, "border")
    mean: tuple[float, float, float] = option((0.4488, 0.4371, 0.404), "colour")
    times: tuple[int, ...] = option((20, 25), "when")


def parse(*words):
    return config.parse(Options, words, description="Says what it does.")


def from_yaml(tmp_path, text, *words):
    path = tmp_path / "some.yaml"
    path.write_text(text, encoding="utf-8")
    return parse("--config", str(path), *words)


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("lr: 1e-4", "lr", 0.0001),  # text for PyYAML
        ("epochs: 010", "epochs", 10),  # eight for PyYAML
        ("name: 0815", "name", "0815"),  # 525 for PyYAML
        ("name: 12:30", "name", "12:30"),  # 750 for PyYAML
        ("name: 2026-11-20", "name", "2026-11-20"),  # a date for PyYAML
        ("name: no", "name", "no"),  # False for PyYAML
        ("name: Übung 超", "name", "Übung 超"),
        ("quiet: yes", "quiet", True),
        ("augment: Off", "augment", False),
        ("join: true", "join", True),
        ("crop: 4", "crop", 4),
        ("mean: [0, 1e-1, .2]", "mean", (0.0, 0.1, 0.2)),
        ("<<: {lr: 0.3}", "lr", 0.3),
        ("times: [1, 7]", "times", (1, 7)),
        ("times: 7", "times", (7,)),
        ("track: Bicubic", "track", "bicubic"),
        ("name: ~/data", "name", str(Path.home() / "data")),
    ],
)
def test_values_from_yaml(tmp_path, text, key, value):
    found = getattr(from_yaml(tmp_path, text + "\n"), key)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("words", "key", "value"),
    [
        ("--lr 1e-4", "lr", 1e-4),
        ("--quiet", "quiet", True),
        ("--augment false", "augment", False),
        ("--join none", "join", None),
        ("--mean 0.1,0.2,0.3", "mean", (0.1, 0.2, 0.3)),
        ("--mean '[0.1, 0.2, 0.3]'", "mean", (0.1, 0.2, 0.3)),
        ("--upscale 3", "scale", 3),
        ("--scale 2 --scale 4", "scale", 4),
        ("--times 5,6", "times", (5, 6)),
        ("--name=-odd", "name", "-odd"),
    ],
)
def test_values_from_the_command_line(words, key, value):
    found = getattr(parse(*shlex.split(words)), key)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch: 3", "FILE: unknown key 'epoch'; did you mean 'epochs'?"),
        ("epochs: 2.5", "FILE: epochs must be a whole number, not '2.5'"),
        ("epochs: [3]", "FILE: epochs must be a whole number, not ['3']"),
        ("epochs: 0", "FILE: epochs must be 1 or more, not '0'"),
        ("beta: 1.0", "FILE: beta must be below 1, not '1.0'"),
        ("lr: fast", "FILE: lr must be a number, not 'fast'"),
        ("lr: nan", "FILE: lr must be a number, not 'nan'"),
        ("name: [a]", "FILE: name must be a text, not ['a']"),
        ("quiet: maybe", "FILE: quiet must be true or false, not 'maybe'"),
        ("track: bicubik", "FILE: track must be one of bicubic, unknown, not 'bicubik'; did you mean 'bicubic'?"),
        ("scale: 5", "FILE: scale must be one of 2, 3, 4, not '5'"),
        ("mean: [1, 2]", "FILE: mean needs 3 values, not ['1', '2']"),
        ("epochs: 99999999999999999999", "FILE: epochs must be a whole number, not '99999999999999999999'"),
        ("times: [1, 2.5]", "FILE: times must be a whole number, not '2.5'"),
        ("lr: {gamma: 1}", "FILE: lr must be a number, not {'gamma': '1'}"),
    ],
)
def test_mistakes_in_yaml(tmp_path, text, message):
    with pytest.raises(UserError) as raised:
        from_yaml(tmp_path, text + "\n")
    assert str(raised.value) == message.replace("FILE", str(tmp_path / "some.yaml"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"lr: 1\nepochs: 2\nlr: 3\n", r"is not valid YAML: 'lr' is there twice in .*some\.yaml.*, line 3"),
        (b"lr: {gamma: 1, gamma: 1}\n", "'gamma' is there twice"),
        (b"[1, 2]\n", "must hold `key: value` lines, not list"),
        (b"lr: [1\n", "is not valid YAML"),
        (b"lr: !!python/object/apply:os.system ['true']\n", "is not valid YAML"),
        (b"\xff\xfe\x00", "is not valid YAML"),
        ("# 中文\nlr: 1\n".encode("gbk"), "is not valid YAML: its bytes are not UTF-8, save it as UTF-8 text"),
        (b"lr: 1\n\tepochs: 1\n", "is not valid YAML: .* line 2, column 1"),
        (b"lr: 1\n---\nlr: 2\n", "is not valid YAML: expected a single document"),
    ],
)
def test_files_that_are_no_configuration(tmp_path, content, message):
    path = tmp_path / "some.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        config.load(Options, path)
    with pytest.raises(UserError, match="cannot read the configuration"):
        config.load(Options, tmp_path)


@pytest.mark.parametrize("coded", ["utf-8-sig", "utf-16"])
def test_files_of_windows(tmp_path, coded):
    (tmp_path / "some.yaml").write_bytes("# 中文\r\nlr: 1e-3\r\nname: 超\r\n".encode(coded))
    assert config.load(Options, tmp_path / "some.yaml") == dataclasses.replace(Options(), lr=1e-3, name="超")
    (tmp_path / "some.yaml").write_bytes("# nothing\n".encode(coded))
    assert config.load(Options, tmp_path / "some.yaml") == Options()


@pytest.mark.parametrize("name", ["0815", "no", "1e3", ""])
def test_saved_configuration_is_loaded_to_an_equal_object(tmp_path, name):
    words = "--lr 1e-08 --crop 3 --mean 1,2,3 --times 9 --quiet --name"
    options = parse(*shlex.split(words), name)
    config.save(options, tmp_path / "config.yaml")
    assert config.load(Options, tmp_path / "config.yaml") == options
    assert config.merge(Options(), config.to_dict(options), "checkpoint") == options


def listed_options(text):
    """Option -> its help, joined over the lines."""
    blocks = re.split(r"\n  (?=--)", text.partition("options:\n")[2])
    blocks = [block.partition("\n\n")[0] for block in blocks]  # without the title of the next group
    return {re.match(r"--([\w.]+)", block)[1]: " ".join(block.split()) for block in blocks if block.startswith("--")}


def every_program():
    """Return "WDSR/train.py" -> its configuration class, of the programs of all models."""
    return {f"{model}/{name}": cls for model in MODELS for name, cls in programs(model)}


def test_every_program_lists_every_option(capsys):
    found = every_program()
    assert "WDSR/train.py" in found
    for name, cls in (*found.items(), ("of this test", Options)):
        with pytest.raises(SystemExit):
            config.parse(cls, ["--help"], description="")
        shown = listed_options(capsys.readouterr().out)
        for field in dataclasses.fields(cls):
            default = getattr(cls(), field.name)
            written = ",".join(map(str, default)) if isinstance(default, tuple) else str(default)
            written = "none" if default in ("", None, ()) else written.lower() if isinstance(default, bool) else written
            assert len(field.metadata["help"].split()) > 0
            line = shown[field.name]
            assert f"[{written}]" in line or "default: " in line, f"{name}.{field.name}: {line}"
        assert config.merge(cls(), config.to_dict(cls()), "itself") == cls(), f"a default of {name} is refused"


def test_every_yaml_in_the_tree_loads(root):
    """A file says itself which program reads it: `# Command: python WDSR/train.py --config ...`."""
    found = every_program()
    paths = [
        path for path in root.rglob("*.y*ml") if not re.search(r"/(\.|runs/|theirs/)", f"/{path.relative_to(root)}")
    ]
    assert root / "ci" / "quickstart.yaml" in paths
    for path in paths:
        command = r"^# Command: python (\w+)/(\w+)\.py .*(?:--config|-opt)"
        named = re.search(command, path.read_text(encoding="utf-8"), re.MULTILINE)
        assert named, f"{path} does not say which command reads it"
        loaded = config.load(found[f"{named[1]}/{named[2]}.py"], path)
        shows_defaults = path.name == "default_config.yaml"
        assert (loaded == type(loaded)()) == shows_defaults, f"{path} changes nothing, or is not the defaults"
