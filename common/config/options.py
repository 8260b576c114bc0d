"""Merge defaults, the named network's values (`--model`), `--config FILE.yaml` and `--key value`, in rising order.

A class under `@configuration` describes a program's options, a frozen dataclass of `option(default, help)`. Where
several options stand for one thing, the one of the highest source counts: the others are put back to their defaults.
An unknown key or a value of the wrong type raises, naming the source and the key. A class may say how its files are
read, by a static method `read_config(path)`, which gives what `read_yaml` gives.
"""

import argparse
import dataclasses
import re
import shutil
import sys
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import yaml

from common import UserError
from common.atomic import replacing
from common.config.values import checked, did_you_mean, says_default

T = TypeVar("T")
COMMAND_LINE = "command line"
WIDEST = 120  # columns of `--help`
CONFIG_FLAGS = "--config", "--config_path", "--opt", "-opt"
PRINT = "print_config"
_UNSAID = {"help": "", "choices": None, "aliases": (), "at_least": None, "below": None}
_UNSAID |= {"hyper": "", "presets": (), "instead_of": (), "repeated": False, "short": ""}


class Origin(NamedTuple):
    """Where the value of an option comes from."""

    source: str  # COMMAND_LINE or a file
    spelled: str  # how the source calls the option


class Translated(dict[str, Any]):
    """Options by our own names, from a file that calls them otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.spelled: dict[str, str] = {}  # our name -> the file's


# ----------------------------------------------------------------------------------------------------------- declaring


def option(default: Any = dataclasses.MISSING, help: str | None = None, **said: Any) -> Any:
    """Declare a field of a configuration: what `--help` says of it, which values it takes, its `aliases`.

    Args:
        short: a letter, as `-i` is typed.
        hyper: hyper-parameter of the network that it gives; a default of 0, "" or () leaves it to the named network.
        presets: values that give the hyper-parameters of other options, unless these are given as well.
        instead_of: options that say the same in another way.
        repeated: each `--key value` of a command line is one more value (else the last counts).
    """
    if unknown := said.keys() - _UNSAID.keys():
        raise TypeError(f"an option has no {unknown}")
    return dataclasses.field(default=default, metadata=said if help is None else {"help": help, **said})


@typing.dataclass_transform(frozen_default=True, field_specifiers=(option,))
def configuration(cls: type[T]) -> type[T]:
    """Make a class a frozen dataclass in which an option that is declared again keeps what is not said of it anew.

    `lr: float = 1e-3` keeps the inherited help, spellings and bounds, `option(help=...)` the default as well; of
    several bases the first counts most. A default is always one of the choices. An option of a base that a program
    does not have is declared again as a `ClassVar`, with the value that it always has.
    """
    hints = vars(cls).get("__annotations__", {})
    cls._declared = {name: (hint, vars(cls).get(name, dataclasses.MISSING)) for name, hint in hints.items()}
    layers: dict[str, list[tuple[Any, Any]]] = {}  # of each option, the furthest ancestor's first
    for one in reversed(cls.__mro__):
        for name, declared in vars(one).get("_declared", {}).items():
            layers.setdefault(name, []).append(declared)
    cls.__annotations__ = {name: declared[-1][0] for name, declared in layers.items()}
    for name, declared in layers.items():
        if typing.get_origin(cls.__annotations__[name]) is not typing.ClassVar:
            setattr(cls, name, _layered([value for _, value in declared]))
        elif declared[-1][1] is not dataclasses.MISSING:
            setattr(cls, name, declared[-1][1])
    return dataclasses.dataclass(frozen=True)(cls)


def _layered(declared: Sequence[Any]) -> Any:
    """Return one field from all declarations of an option, each a default or a field, the last above the others."""
    default, metadata = dataclasses.MISSING, dict(_UNSAID)
    for one in declared:
        one = one if isinstance(one, dataclasses.Field) else dataclasses.field(default=one)
        default = default if one.default is dataclasses.MISSING else one.default
        metadata |= one.metadata
    if metadata["choices"] and default not in metadata["choices"]:
        metadata["choices"] = (default, *metadata["choices"])
    return dataclasses.field(default=default, metadata=metadata)


# ----------------------------------------------------------------------------------------------------- the command line


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Shows one spelling of an option with its value, in lines that are not too long to read."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=min(shutil.get_terminal_size().columns, WIDEST) - 2)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        value = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{action.option_strings[0]} {value}"


class Parser(argparse.ArgumentParser):
    """A parser without abbreviations that raises UserError instead of printing its usage."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **{"formatter_class": Formatter, **settings})

    def error(self, message: str) -> typing.NoReturn:
        known = [name for action in self._actions for name in action.option_strings]
        words = message.partition("unrecognized arguments: ")[2].split()
        hint = did_you_mean(words[0].partition("=")[0], known) if words else ""
        raise UserError(f"{message}{hint} (--help lists the options)")


def parser_of(cls: type, description: str, usage: str = "") -> Parser:
    """Return the parser of a configuration class; values stay text, and what is not given is None.

    `usage` is what is typed behind the program's name before the options, one line for each way: "decode LATENTS ...".
    """
    lines = [f"%(prog)s {line}".strip() for line in usage.split("\n")]
    shown = "\n       ".join(f"{line} [--option VALUE ...]" for line in lines)
    parser, fields = Parser(description=description.strip(), usage=shown), cls.__dataclass_fields__
    if "config" not in fields:
        text = f"YAML file with any of the options below; also {', '.join(CONFIG_FLAGS[1:])}"
        parser.add_argument(*CONFIG_FLAGS, dest="config", metavar="FILE", help=text)
    text = "print the options as YAML, as the command line and --config give them, and exit"
    parser.add_argument(f"--{PRINT}", action="store_true", help=text)
    hints = typing.get_type_hints(cls)
    for title, names in groups(cls).items():
        place = parser.add_argument_group(title) if title else parser
        for name in names:
            _add_option(place, fields[name], hints[name])
    return parser


def spellings(cls: type) -> dict[str, str]:
    """Map every name of every option, its own among them, to its own."""
    fields = dataclasses.fields(cls)
    return {name: field.name for field in fields for name in (field.name, *field.metadata.get("aliases", ()))}


def groups(cls: type) -> dict[str, list[str]]:
    """Return title -> options, in the order of the classes that they come from; the class's own title is empty.

    The title of another class is the first words of its docstring, up to a full stop or a colon. A class that only says
    an option's default anew does not take it out of its group.
    """

    def own(one: type) -> dict[str, Any]:
        return vars(one).get("__annotations__", {})

    names = [field.name for field in dataclasses.fields(cls)]
    origins = {name: next(one for one in reversed(cls.__mro__) if name in own(one)) for name in names}
    titles: dict[str, list[str]] = {}
    for one in cls.__mro__:
        title = "" if one is cls else re.split(r"[.:]", " ".join((one.__doc__ or one.__name__).split()))[0]
        titles.setdefault(title[:1].lower() + title[1:], []).extend(name for name in names if origins[name] is one)
    return {title: sorted(own, key=names.index) for title, own in titles.items() if own}


def _add_option(place: Any, field: dataclasses.Field, hint: Any) -> None:
    said, default, text = field.metadata, field.default, field.metadata.get("help", "")
    kind = next((one for one in typing.get_args(hint) if one is not type(None)), hint)  # of X | None and tuple[X, ...]
    if choices := said.get("choices"):
        placeholders = ("", default) if says_default(text) else ("",)
        value = "{" + ",".join(str(one) for one in choices if one not in placeholders) + "}"
    else:
        value = {bool: "{true,false}", int: "N", float: "X"}.get(kind, field.name.rpartition("_")[2].upper())
        value = f"{value},{value} ..." if typing.get_origin(hint) is tuple else value
    if not says_default(text):
        shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
        shown = str(shown).lower() if isinstance(shown, bool) else shown
        text = f"{text} [{'none' if shown in ('', None) else shown}]"
    flags = [f"--{one}" for one in (field.name, *said.get("aliases", ()))]
    flags += [f"-{said['short']}"] if said.get("short") else []
    text += f"; also {', '.join(flags[1:])}" if flags[1:] else ""
    settings = {"nargs": "?", "const": "true"} if kind is bool else {}
    settings |= {"action": "append"} if said.get("repeated") else {}
    place.add_argument(*flags, dest=field.name, metavar=value, help=text.replace("%", "%%"), **settings)


# ------------------------------------------------------------------------------------------------------------- reading


def parse(cls: type[T], argv: Sequence[str] | None, *, description: str, base: T | None = None) -> T:
    """Build `cls` from the command line (None: the process's), the YAML file it names, and `base` or the defaults."""
    return _merged(cls, parser_of(cls, description).parse_args(argv), base)


def parse_inputs(
    cls: type[T], argv: Sequence[str] | None, *, description: str, usage: str, base: T | None = None
) -> tuple[list[str], T]:
    """Return (inputs, options): as `parse`; inputs without `--input` come first; none typed: the file's."""
    parser = parser_of(cls, description, usage)
    arguments, words = parser.parse_known_args(argv)
    if (unknown := next((place for place, word in enumerate(words) if word.startswith("-")), None)) is not None:
        parser.error(f"unrecognized arguments: {' '.join(words[unknown:])}")
    inputs, arguments.input = [*words, *(arguments.input or [])], None
    options = _merged(cls, arguments, base, inputs)
    return inputs or ([options.input] if options.input else []), options


def _merged(cls: type[T], arguments: argparse.Namespace, base: T | None, inputs: Sequence[str] = ()) -> T:
    values = {key: value for key, value in vars(arguments).items() if value is not None}
    given = {key: value[-1] if isinstance(value, list) else value for key, value in values.items()}
    path, shown = given.pop("config", None), given.pop(PRINT)
    options = cls() if base is None else base
    if path is not None:
        options = merge(options, getattr(cls, "read_config", read_yaml)(path), path)
    options = merge(options, given, COMMAND_LINE)
    if shown:
        shown = dataclasses.replace(options, input=inputs[0]) if len(inputs) == 1 else options
        sys.stdout.write(_to_yaml(shown))
        sys.exit(0)
    return options


def load(cls: type[T], path: str | Path) -> T:
    """Build `cls` from a YAML file; keys that it leaves out keep their defaults."""
    return merge(cls(), getattr(cls, "read_config", read_yaml)(path), str(path))


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Return the mapping in a YAML file, scalars as text: PyYAML takes 1e-4 for text, 010 for eight, `no` for False."""
    try:
        with open(path, "rb") as file:  # of bytes PyYAML tells UTF-8 and UTF-16 apart
            content = yaml.load(file, _Loader)
    except OSError as error:
        raise UserError(f"cannot read the configuration {str(path)!r}: {error.strerror}") from None
    except Exception as error:  # PyYAML has many ways to fail
        coded = getattr(error, "encoding", "unicode") != "unicode"  # else it is in the text itself
        reason = "its bytes are not UTF-8, save it as UTF-8 text" if coded else " ".join(str(error).split())
        raise UserError(f"{path} is not valid YAML: {reason}") from None
    if not isinstance(content, (dict, type(None))):
        raise UserError(f"{path} must hold `key: value` lines, not {type(content).__name__}")
    return content or {}


class _Loader(yaml.SafeLoader):
    """Leaves scalars as text, but for null, and refuses a key that is there twice (PyYAML takes the last)."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [resolver for resolver in resolvers if resolver[0].endswith((":null", ":merge"))]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():  # else refused below
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is there twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


# ------------------------------------------------------------------------------------------------------------- merging


def merge(base: T, values: Mapping[str, Any], source: str) -> T:
    """Replace options of `base`, by any of their spellings; reset those that the new values stand instead of."""
    fields, hints = type(base).__dataclass_fields__, typing.get_type_hints(type(base))
    names, changes, said = spellings(type(base)), {}, {}
    for spelled, value in values.items():
        if spelled not in names:
            raise UserError(f"{source}: unknown key {str(spelled)!r}{did_you_mean(str(spelled), names)}")
        key = names[spelled]
        if said.setdefault(key, spelled) != spelled:
            raise UserError(f"{source}: {said[key]} and {spelled} are the same option: give one of them")
        changes[key] = checked(value, hints[key], fields[key], f"{source}: {key}")
    merged = dataclasses.replace(base, **changes)
    reset = _overruled(merged, said, source)
    merged = dataclasses.replace(merged, **{key: fields[key].default for key in reset})
    spelled = said | getattr(values, "spelled", {})
    origins = _origins(base) | {key: Origin(source, spelled[key]) for key in changes}
    object.__setattr__(merged, "_origins", {key: origins[key] for key in origins if key not in reset})
    return merged


def _overruled(merged: Any, said: Mapping[str, str], source: str) -> set[str]:
    """Return the options that give way to those of a higher source, which are in `said`, with their spelling there."""
    fields = {field.name: field for field in dataclasses.fields(merged)}
    counting = {key for key in said if not left_open(merged, key)}
    reset: set[str] = set()
    for pair in ({key, other} for key in fields for other in fields[key].metadata.get("instead_of", ())):
        if len(pair & counting) == 2:
            both = " and ".join(said[key] for key in said if key in pair)
            raise UserError(f"{source}: {both} say the same in two ways: give one of them")
        reset |= pair & fields.keys() if pair & counting else set()
    if any(getattr(merged, key) in fields[key].metadata.get("presets", ()) for key in counting):
        reset |= {key for key in fields if fields[key].metadata.get("hyper") and not fields[key].default}
    return reset - said.keys()


def left_open(options: Any, name: str) -> bool:
    """Return whether an option says nothing: it has its default, and that is 0, "", () or false."""
    value = getattr(options, name)
    return not value and value == type(options).__dataclass_fields__[name].default


def origin(options: Any, name: str) -> Origin | None:
    """Return where an option's value comes from, None for its default; what a caller sets himself counts as typed."""
    given = getattr(options, name) != type(options).__dataclass_fields__[name].default
    return _origins(options).get(name, Origin(COMMAND_LINE, name) if given else None)


def typed(options: Any, name: str) -> bool:
    """Return whether an option is on the command line."""
    said = origin(options, name)
    return said is not None and said.source == COMMAND_LINE


def _origins(options: Any) -> dict[str, Origin]:
    return vars(options).get("_origins", {})


# ------------------------------------------------------------------------------------------------------------- writing


def to_dict(options: Any) -> dict[str, Any]:
    """Return values of JSON's types, for YAML and checkpoints; without those that others stand instead of."""
    counting = [field for field in dataclasses.fields(options) if not left_open(options, field.name)]
    overruled = {name for field in counting for name in field.metadata.get("instead_of", ())}
    values = {key: value for key, value in dataclasses.asdict(options).items() if key not in overruled}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def save(options: Any, path: str | Path) -> None:
    """Write the keys with their resolved values; `load` reads them back to an equal object."""
    try:
        with replacing(path) as temporary:
            temporary.write_text(_to_yaml(options), encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from None


def _to_yaml(options: Any) -> str:
    return yaml.safe_dump(to_dict(options), sort_keys=False, allow_unicode=True)


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return a line `key: old -> new` for each key in which two configurations differ."""
    keys = dict.fromkeys([*old, *new])
    return [f"{key}: {old.get(key)} -> {new.get(key)}" for key in keys if old.get(key) != new.get(key)]
