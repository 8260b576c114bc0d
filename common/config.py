"""Configuration: YAML file -> frozen dataclass -> command line.

A program describes its options as a frozen dataclass whose fields come from `option(default, help)`. Values are taken,
in rising order, from the defaults, from `--config FILE.yaml`, and from `--key value`. Nested dataclasses are written as
nested YAML and as `--section.key value`. Nothing is guessed: an unknown key or a value of the wrong type raises, naming
the source and the key.

A class may say how its files are named and read: `CONFIG_FLAGS`, a tuple of flags instead of ("--config",), and a
static method `read_config(path)`, which gives what `read_yaml` gives.
"""

import argparse
import dataclasses
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from common import UserError
from common.atomic import replacing
from common.values import checked, did_you_mean

T = TypeVar("T")


def option(
    default: Any,
    help: str,
    *,
    choices: Sequence[Any] | None = None,
    aliases: Sequence[str] = (),
    at_least: float | None = None,
    below: float | None = None,
) -> Any:
    """A field of a configuration dataclass: what `--help` says of it, which values it takes, its other names there."""
    metadata = {"help": help, "choices": choices, "aliases": aliases, "at_least": at_least, "below": below}
    return dataclasses.field(default=default, metadata=metadata)


def parse(cls: type[T], argv: Sequence[str] | None, *, description: str, base: T | None = None) -> T:
    """Build `cls` from the command line (None: the process's own) and the YAML file it may name.

    Args:
        description: opens `--help`; the program's docstring.
        base: values to start from instead of the defaults.

    Raises:
        UserError: unknown key, wrong type, value outside its choices, or unreadable file.
    """
    given = {key: value for key, value in vars(_parser(cls, description).parse_args(argv)).items() if value is not None}
    path = given.pop("config", None)
    base = cls() if base is None else base
    if path is not None:
        base = merge(base, getattr(cls, "read_config", read_yaml)(path), path)
    return merge(base, given, "command line")


def load(cls: type[T], path: str | Path) -> T:
    """Build `cls` from a YAML file; keys that it leaves out keep their defaults."""
    return merge(cls(), getattr(cls, "read_config", read_yaml)(path), str(path))


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file. Numbers, words and dates are left as text, which `merge` converts: PyYAML would take
    1e-4 for text, 010 for eight and `no` for False, whatever the key wants.

    Raises:
        UserError: no such file, not YAML, not a mapping, or a key that is there twice.
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
    for dotted, value in values.items():
        key, _, rest = str(dotted).partition(".")
        if key not in fields:
            raise UserError(f"{source}: unknown key {key!r}{did_you_mean(key, fields)}")
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


class Parser(argparse.ArgumentParser):
    """A parser without abbreviations that raises UserError instead of printing its usage."""

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> typing.NoReturn:
        known = [name for action in self._actions for name in action.option_strings]
        words = message.partition("unrecognized arguments: ")[2].split()
        hint = did_you_mean(words[0].partition("=")[0], known) if words else ""
        raise UserError(f"{message}{hint} (--help lists the options)")


def _parser(cls: type, description: str) -> Parser:
    parser = Parser(description=description)
    if "config" not in {field.name for field in dataclasses.fields(cls)}:
        flags = getattr(cls, "CONFIG_FLAGS", ("--config",))
        parser.add_argument(*flags, dest="config", metavar="FILE", help="YAML file with any of the options below")
    _add_options(parser, cls(), "")
    return parser


def _add_options(parser: Parser, defaults: Any, prefix: str) -> None:
    hints = typing.get_type_hints(type(defaults))
    for field in dataclasses.fields(defaults):
        default, name = getattr(defaults, field.name), prefix + field.name
        if dataclasses.is_dataclass(default):
            _add_options(parser, default, name + ".")
            continue
        choices = field.metadata.get("choices")
        parser.add_argument(
            f"--{name}",
            *(f"--{prefix}{alias}" for alias in field.metadata.get("aliases", ())),
            dest=name,
            metavar="{" + ",".join(map(str, choices)) + "}" if choices else field.name.upper(),
            help=_help(field.metadata.get("help", ""), default),
            **(
                {"nargs": "?", "const": "true"}
                if bool in (hints[field.name], *typing.get_args(hints[field.name]))
                else {}
            ),
        )


def _help(text: str, default: Any) -> str:
    """The text and the default, unless the text itself says what happens by default."""
    if default in ("", None) and "default: " in text:
        return text.replace("%", "%%")
    shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
    return f"{text} [{'none' if shown in ('', None) else shown}]".replace("%", "%%")


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
