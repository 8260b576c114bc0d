"""Configuration: YAML file -> frozen dataclass -> command line.

A program describes its options as a frozen dataclass whose fields come from `option(default, help)`. Values are taken,
in rising order, from the defaults, from `--config FILE.yaml`, and from `--key value`. Nested dataclasses are written as
nested YAML and as `--section.key value`. Nothing is guessed: an unknown key or a value of the wrong type raises, naming
the source and the key.

A class may say how its files are read, by a static method `read_config(path)`, which gives what `read_yaml` gives.
"""

import argparse
import dataclasses
import itertools
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from common import UserError
from common.atomic import replacing
from common.command_line import parser_of, spellings
from common.values import checked, did_you_mean

T = TypeVar("T")
MOST_VALUES = 10_000  # of a YAML file whose aliases are put in; ten lines of them can stand for billions


def option(
    default: Any,
    help: str,
    *,
    choices: Sequence[Any] | None = None,
    aliases: Sequence[str] = (),
    at_least: float | None = None,
    below: float | None = None,
) -> Any:
    """A field of a configuration dataclass: what `--help` says of it, which values it takes, its other names."""
    metadata = {"help": help, "choices": choices, "aliases": aliases, "at_least": at_least, "below": below}
    return dataclasses.field(default=default, metadata=metadata)


def again(cls: type, name: str, default: Any = dataclasses.MISSING, **changes: Any) -> Any:
    """The option `name` of `cls` once more, for a class that takes it over with another default or other words."""
    field = cls.__dataclass_fields__[name]
    default = field.default if default is dataclasses.MISSING else default
    return dataclasses.field(default=default, metadata={**field.metadata, **changes})


def parse(cls: type[T], argv: Sequence[str] | None, *, description: str, base: T | None = None) -> T:
    """Build `cls` from the command line (None: the process's own) and the YAML file it may name.

    Args:
        description: opens `--help`; the program's docstring.
        base: values to start from instead of the defaults.

    Raises:
        UserError: unknown key, wrong type, value outside its choices, or unreadable file.
    """
    return _merged(cls, parser_of(cls, description).parse_args(argv), base)


def parse_inputs(
    cls: type[T], argv: Sequence[str] | None, *, description: str, usage: str, base: T | None = None
) -> tuple[list[str], T]:
    """As `parse`, for a program whose inputs may also be typed without `--input`, before the options or behind them.

    Args:
        usage: as `common.command_line.parser_of` has it.
        base: as for `parse`.

    Returns:
        (inputs, those without a flag first; options).

    Raises:
        UserError: as `parse`.
    """
    inputs, arguments = parser_of(cls, description, usage).parse_inputs(argv)
    options = _merged(cls, arguments, base)
    return [*inputs, *([options.input] if options.input else [])], options


def _merged(cls: type[T], arguments: argparse.Namespace, base: T | None) -> T:
    given = {key: value for key, value in vars(arguments).items() if value is not None}
    path = given.pop("config", None)
    base = cls() if base is None else base
    if path is not None:
        base = merge(base, getattr(cls, "read_config", read_yaml)(path), path)
    return merge(base, given, "command line")


def typed(cls: type, argv: Sequence[str] | None) -> set[str]:
    """Return the options that the command line gives, by their own names."""
    return {key for key, value in vars(parser_of(cls, "").parse_args(argv)).items() if value is not None}


def load(cls: type[T], path: str | Path) -> T:
    """Build `cls` from a YAML file; keys that it leaves out keep their defaults."""
    return merge(cls(), getattr(cls, "read_config", read_yaml)(path), str(path))


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file. Numbers, words and dates are left as text, which `merge` converts: PyYAML would take
    1e-4 for text, 010 for eight and `no` for False, whatever the key wants.

    Raises:
        UserError: no such file, not YAML, not a mapping, a key that is there twice, or aliases without end.
    """
    try:
        with open(path, encoding="utf-8") as file:
            content = yaml.load(file, _Loader)
    except OSError as error:
        raise UserError(f"cannot read the configuration {str(path)!r}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold `key: value` lines, not {type(content).__name__}")
    return content


class _Loader(yaml.SafeLoader):
    """Leaves scalars as text, but for null, and refuses a key that is there twice (PyYAML takes the last)."""

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None and _unfolded(node, {}) > MOST_VALUES:
            raise UserError(
                f"{self.name} holds more than {MOST_VALUES:,} values, or one that contains itself, once its aliases "
                "(*name) are put in: write them out"
            )
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():  # else refused below
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is there twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _unfolded(node: yaml.Node, known: dict[yaml.Node, int]) -> int:
    """How many values there are once each alias is replaced by what it names; `MOST_VALUES` + 1 stands for more."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    if node not in known:
        known[node] = MOST_VALUES + 1  # should it come back here, it contains itself
        parts = itertools.chain(*node.value) if isinstance(node, yaml.MappingNode) else node.value
        known[node] = min(1 + sum(_unfolded(part, known) for part in parts), MOST_VALUES + 1)
    return known[node]


_Loader.yaml_implicit_resolvers = {
    first: [resolver for resolver in resolvers if resolver[0].endswith((":null", ":merge"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _tagged(kind: str) -> Callable[[_Loader, yaml.Node], Any]:
    """What a value is that its tag calls a number, as `!!float 5e3` in the authors' files."""
    construct = yaml.SafeLoader.yaml_constructors[f"tag:yaml.org,2002:{kind}"]

    def checked_value(loader: _Loader, node: yaml.Node) -> Any:
        try:
            return construct(loader, node)
        except (ValueError, KeyError, ArithmeticError, AttributeError, IndexError):
            raise yaml.constructor.ConstructorError(
                None, None, f"{node.value!r} is no {kind}", node.start_mark
            ) from None

    return checked_value


_Loader.yaml_constructors = yaml.SafeLoader.yaml_constructors | {
    f"tag:yaml.org,2002:{kind}": _tagged(kind) for kind in ("int", "float", "bool", "timestamp")
}


def merge(base: T, values: Mapping[str, Any], source: str) -> T:
    """`base` with some fields replaced; `values` may be nested or use dotted keys.

    Raises:
        UserError: a key that `base` does not have, or a value of the wrong type.
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
    return dataclasses.replace(base, **changes)


def to_dict(config: Any) -> dict[str, Any]:
    """Plain values, as they are written to YAML and into checkpoints."""
    return {key: _plain(value) for key, value in dataclasses.asdict(config).items()}


def save(config: Any, path: str | Path) -> None:
    """Write every key with its resolved value; `load` reads it back to an equal object.

    Raises:
        UserError: the file cannot be written.
    """
    text = yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True)
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
