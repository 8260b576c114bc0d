"""Configuration: YAML file -> frozen dataclass -> command line.

A program describes its options as a class under `@configuration`, a frozen dataclass whose fields come from
`option(default, help)`. Values are taken, in rising order, from the defaults, from what a named network (`--model`)
has, from `--config FILE.yaml`, and from `--key value`. Where several options stand for one thing, the one of the
highest source counts: the others are put back to their defaults. Nested dataclasses are written as nested YAML and as
`--section.key value`. Nothing is guessed: an unknown key or a value of the wrong type raises, naming the source and the
key.

A class may say how its files are read, by a static method `read_config(path)`, which gives what `read_yaml` gives.
"""

import argparse
import dataclasses
import sys
import typing
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import yaml

from common import UserError
from common.atomic import replacing
from common.config.command_line import PRINT, parser_of, spellings
from common.config.values import checked, did_you_mean

T = TypeVar("T")
COMMAND_LINE = "command line"


class Origin(NamedTuple):
    """Where the value of an option comes from."""

    source: str  # COMMAND_LINE or a file
    spelled: str  # how the source calls the option


class Translated(dict[str, Any]):
    """Options by our own names, from a file that calls them otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.spelled: dict[str, str] = {}  # our name -> the file's

    def take(self, name: str, value: Any, key: str) -> Any:
        """Return the value of an option, which is the first that the file gives it, under this dotted key or before."""
        self.spelled.setdefault(name, key.rpartition(".")[2])
        return self.setdefault(name, value)


def option(
    default: Any = dataclasses.MISSING,
    help: str | None = None,
    *,
    choices: Sequence[Any] | None = None,
    aliases: Sequence[str] | None = None,
    at_least: float | None = None,
    below: float | None = None,
    hyper: str | None = None,
    presets: Collection[str] | None = None,
    instead_of: Sequence[str] | None = None,
    repeated: bool | None = None,
    short: str | None = None,
) -> Any:
    """Declare a field of a configuration: what `--help` says of it, which values it takes, its other names.

    Args:
        hyper: hyper-parameter of the network that it gives; a default of 0, "" or () leaves it to the named network.
        presets: values that give the hyper-parameters of other options, unless these are given as well.
        instead_of: options that say the same in another way.
        repeated: each `--key value` of a command line is one more value (else the last counts).
        short: a letter, as `-i` is typed.
    """
    metadata = {"help": help, "choices": choices, "aliases": aliases, "at_least": at_least, "below": below}
    metadata |= {"hyper": hyper, "presets": presets, "instead_of": instead_of, "repeated": repeated}
    metadata |= {"short": short}
    said = {key: value for key, value in metadata.items() if value is not None}
    return dataclasses.field(default=default, metadata=said)


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
    cls.__annotations__ = {}
    for name, declared in layers.items():
        hint, value = declared[-1]
        cls.__annotations__[name] = hint
        if typing.get_origin(hint) is not typing.ClassVar:
            setattr(cls, name, _layered([value for _, value in declared]))
        elif value is not dataclasses.MISSING:
            setattr(cls, name, value)
    return dataclasses.dataclass(frozen=True)(cls)


def _layered(declared: Sequence[Any]) -> Any:
    """Return one field from all declarations of an option, each a default or a field, the last above the others."""
    default, metadata = dataclasses.MISSING, {"help": "", "choices": None, "at_least": None, "below": None}
    metadata |= {"aliases": (), "hyper": "", "presets": (), "instead_of": (), "repeated": False, "short": ""}
    for one in declared:
        one = one if isinstance(one, dataclasses.Field) else dataclasses.field(default=one)
        default = default if one.default is dataclasses.MISSING else one.default
        metadata |= one.metadata
    if metadata["choices"] and default not in metadata["choices"]:
        metadata["choices"] = (default, *metadata["choices"])
    return dataclasses.field(default=default, metadata=metadata)


def parse(cls: type[T], argv: Sequence[str] | None, *, description: str, base: T | None = None) -> T:
    """Build `cls` from the command line (None: the process's own) and the YAML file it may name.

    Args:
        description: opens `--help`; the program's docstring.
        base: values to start from instead of the defaults.
    """
    return _merged(cls, parser_of(cls, description).parse_args(argv), base)


def parse_inputs(
    cls: type[T], argv: Sequence[str] | None, *, description: str, usage: str, base: T | None = None
) -> tuple[list[str], T]:
    """As `parse`, for a program whose inputs may also be typed without `--input`, before the options or behind them.

    Args:
        usage: as `common.config.parser_of` has it.
        base: as for `parse`.

    Returns:
        (inputs: those that are typed, those without a flag first, else the file's; options).
    """
    inputs, arguments = parser_of(cls, description, usage).parse_inputs(argv)
    inputs, arguments.input = [*inputs, *(arguments.input or [])], None
    options = _merged(cls, arguments, base, inputs)
    return inputs or ([options.input] if options.input else []), options


def _merged(cls: type[T], arguments: argparse.Namespace, base: T | None, inputs: Sequence[str] = ()) -> T:
    typed = {key: value for key, value in vars(arguments).items() if value is not None}
    given = {key: value[-1] if isinstance(value, list) else value for key, value in typed.items()}
    path, shown = given.pop("config", None), given.pop(PRINT)
    base = cls() if base is None else base
    if path is not None:
        base = merge(base, getattr(cls, "read_config", read_yaml)(path), path)
    options = merge(base, given, COMMAND_LINE)
    if shown:
        sys.stdout.write(to_yaml(dataclasses.replace(options, input=inputs[0]) if len(inputs) == 1 else options))
        sys.exit(0)
    return options


def load(cls: type[T], path: str | Path) -> T:
    """Build `cls` from a YAML file; keys that it leaves out keep their defaults."""
    return merge(cls(), getattr(cls, "read_config", read_yaml)(path), str(path))


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file. Numbers, words and dates are left as text, which `merge` converts: PyYAML would take
    1e-4 for text, 010 for eight and `no` for False, whatever the key wants.
    """
    try:
        with open(path, "rb") as file:  # of bytes PyYAML tells UTF-8 and UTF-16 apart
            content = yaml.load(file, _Loader)
    except OSError as error:
        raise UserError(f"cannot read the configuration {str(path)!r}: {error.strerror}") from None
    except (
        yaml.YAMLError,
        ValueError,
        KeyError,
        ArithmeticError,
        LookupError,
        AttributeError,
        RecursionError,
    ) as error:
        coded = getattr(error, "encoding", "unicode") != "unicode"  # else it is in the text itself
        reason = "its bytes are not UTF-8, save it as UTF-8 text" if coded else " ".join(str(error).split())
        raise UserError(f"{path} is not valid YAML: {reason}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold `key: value` lines, not {type(content).__name__}")
    return content


class _Loader(yaml.SafeLoader):
    """Leaves scalars as text, but for null, and refuses a key that is there twice (PyYAML takes the last)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():  # else refused below
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is there twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [resolver for resolver in resolvers if resolver[0].endswith((":null", ":merge"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def merge(base: T, values: Mapping[str, Any], source: str) -> T:
    """Replace some fields of `base`, and put those back to their defaults that the new values stand instead of.

    Args:
        values: may be nested or use dotted keys.
        source: what the messages call it; `origin` tells it again.
    """
    fields = {field.name: field for field in dataclasses.fields(base)}
    hints = typing.get_type_hints(type(base))
    changes: dict[str, Any] = {}
    names, said = spellings(type(base)), {}
    for dotted, value in values.items():
        spelled, _, rest = str(dotted).partition(".")
        if spelled not in names:
            raise UserError(f"{source}: unknown key {spelled!r}{did_you_mean(spelled, names)}")
        key = names[spelled]
        if said.setdefault(key, spelled) != spelled:
            raise UserError(f"{source}: {said[key]} and {spelled} are the same option: give one of them")
        if dataclasses.is_dataclass(hints[key]):
            nested = {rest: value} if rest else value or {}  # all keys of a section may be commented out
            if not isinstance(nested, Mapping):
                raise UserError(f"{source}: {key} is a section of keys, not {value!r}")
            changes[key] = merge(changes.get(key, getattr(base, key)), nested, f"{source}: {key}")
        elif rest:
            raise UserError(f"{source}: {key} has no key {rest!r} below it")
        else:
            changes[key] = checked(value, hints[key], fields[key], f"{source}: {key}")
    merged = dataclasses.replace(base, **changes)
    reset = _overruled(merged, changes, said, source)
    merged = dataclasses.replace(merged, **{key: fields[key].default for key in reset})
    spelled = said | getattr(values, "spelled", {})
    origins = _origins(base) | {key: Origin(source, spelled[key]) for key in changes}
    object.__setattr__(merged, "_origins", {key: origins[key] for key in origins if key not in reset})
    return merged


def _overruled(merged: Any, given: Collection[str], said: Mapping[str, str], source: str) -> set[str]:
    """The options that give way to what a higher source says in another way.

    Args:
        merged: options, of which `given` come from this source, spelled as in `said`.
    """
    fields = {field.name: field for field in dataclasses.fields(merged)}
    counting = {key for key in given if not left_open(merged, key)}
    reset: set[str] = set()
    for pair in (
        {key, other} & fields.keys() for key in fields for other in fields[key].metadata.get("instead_of", ())
    ):
        if len(pair & counting) == 2:
            both = " and ".join(said[key] for key in given if key in pair)
            raise UserError(f"{source}: {both} say the same in two ways: give one of them")
        reset |= pair if pair & counting else set()
    if any(getattr(merged, key) in fields[key].metadata.get("presets", ()) for key in counting):
        reset |= {key for key in fields if fields[key].metadata.get("hyper") and not fields[key].default}
    return reset - set(given)


def left_open(options: Any, name: str) -> bool:
    """Return whether an option says nothing: it has its default, and that is 0, "", () or false."""
    value = getattr(options, name)
    return not value and value == type(options).__dataclass_fields__[name].default


def origin(options: Any, name: str) -> Origin | None:
    """Where the value of an option comes from; None for its default. What a caller sets himself counts as typed."""
    field = type(options).__dataclass_fields__[name]
    given = getattr(options, name) != field.default
    return _origins(options).get(name, Origin(COMMAND_LINE, name) if given else None)


def typed(options: Any, name: str) -> bool:
    """Return whether an option stands on the command line."""
    said = origin(options, name)
    return said is not None and said.source == COMMAND_LINE


def _origins(options: Any) -> dict[str, Origin]:
    return vars(options).get("_origins", {})


def to_dict(config: Any) -> dict[str, Any]:
    """Plain values, as they are written to YAML and into checkpoints; without those that others stand instead of."""
    counting = [field for field in dataclasses.fields(config) if not left_open(config, field.name)]
    overruled = {name for field in counting for name in field.metadata.get("instead_of", ())}
    return {key: _plain(value) for key, value in dataclasses.asdict(config).items() if key not in overruled}


def to_yaml(config: Any) -> str:
    """Return the text of a file with the keys and their resolved values."""
    return yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True)


def save(config: Any, path: str | Path) -> None:
    """Write the keys with their resolved values; `load` reads them back to an equal object."""
    text = to_yaml(config)
    try:
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from None


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """One line `section.key: old -> new` for each key in which two configurations differ."""
    old, new = _flat(old), _flat(new)
    keys = dict.fromkeys([*old, *new])
    return [f"{key}: {old.get(key)} -> {new.get(key)}" for key in keys if old.get(key) != new.get(key)]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat
