"""Configuration: YAML file -> frozen dataclass -> command line.

A program describes its options as a frozen dataclass whose fields come from `option(default, help)`. Values are taken,
in rising order, from the defaults, from `--config FILE.yaml`, and from `--key value`. Nested dataclasses are written as
nested YAML and as `--section.key value`. Nothing is guessed: an unknown key or a value of the wrong type raises, naming
the source and the key.
"""

import argparse
import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from common import UserError

T = TypeVar("T")
TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def option(default: Any, help: str, *, choices: Sequence[Any] | None = None, aliases: Sequence[str] = ()) -> Any:
    """A field of a configuration dataclass, with what `--help` says of it and its other names on the command line."""
    return dataclasses.field(default=default, metadata={"help": help, "choices": choices, "aliases": aliases})


def parse(cls: type[T], argv: Sequence[str] | None, *, description: str, base: T | None = None) -> T:
    """Build `cls` from the command line (None: the process's own) and the YAML file it may name.

    Args:
        description: opens `--help`; the program's docstring.
        base: values to start from instead of the defaults.

    Raises:
        UserError: unknown key, wrong type, value outside its choices, or unreadable file.
    """
    given = vars(_parser(cls, description).parse_args(argv))
    path = given.pop("config", None)
    base = cls() if base is None else base
    if path:
        base = merge(base, read_yaml(path), path)
    return merge(base, {key: value for key, value in given.items() if value is not None}, "command line")


def load(cls: type[T], path: str | Path) -> T:
    """Build `cls` from a YAML file; keys that it leaves out keep their defaults."""
    return merge(cls(), read_yaml(path), str(path))


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        UserError: no such file, not YAML, or not a mapping.
    """
    try:
        with open(path, encoding="utf-8") as file:
            content = yaml.safe_load(file)
    except OSError as error:
        raise UserError(f"cannot read the configuration {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold `key: value` lines, not {type(content).__name__}")
    return content


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
            current = changes.get(key, getattr(base, key))
            nested = {rest: value} if rest else value
            if not isinstance(nested, Mapping):
                raise UserError(f"{source}: {key} is a section of keys, not {value!r}")
            changes[key] = merge(current, nested, f"{source}: {key}")
        elif rest:
            raise UserError(f"{source}: {key} has no key {rest!r} below it")
        else:
            changes[key] = _checked(value, hints[key], fields[key], f"{source}: {key}")
    return dataclasses.replace(base, **changes)


def to_dict(config: Any) -> dict[str, Any]:
    """Plain values, as they are written to YAML and into checkpoints."""
    return {key: _plain(value) for key, value in dataclasses.asdict(config).items()}


def save(config: Any, path: str | Path) -> None:
    """Write every key with its resolved value; `load` reads it back to an equal object."""
    text = yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True)
    Path(path).write_text(text, encoding="utf-8")


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """One line `key: old -> new` for each key in which two flat configurations differ."""
    keys = sorted(set(old) | set(new))
    return [f"{key}: {old.get(key)} -> {new.get(key)}" for key in keys if old.get(key) != new.get(key)]


def did_you_mean(word: str, known: typing.Iterable[str]) -> str:
    """'; did you mean ...?' when a known word is near, else an empty text."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


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
        parser.add_argument("--config", metavar="FILE", help="YAML file with any of the options below")
    _add_options(parser, cls(), "")
    return parser


def _add_options(parser: Parser, defaults: Any, prefix: str) -> None:
    hints = typing.get_type_hints(type(defaults))
    for field in dataclasses.fields(defaults):
        default, name = getattr(defaults, field.name), prefix + field.name
        if dataclasses.is_dataclass(default):
            _add_options(parser, default, name + ".")
            continue
        flag = {"nargs": "?", "const": "true"} if hints[field.name] is bool else {}
        choices = field.metadata.get("choices")
        parser.add_argument(
            f"--{name}",
            *(f"--{prefix}{alias}" for alias in field.metadata.get("aliases", ())),
            dest=name,
            metavar="{" + ",".join(map(str, choices)) + "}" if choices else field.name.upper(),
            help=_help(field.metadata.get("help", ""), default),
            **flag,
        )


def _help(text: str, default: Any) -> str:
    shown = "" if default in ("", None, False) else f" [{_plain(default)}]"
    return (text + shown).replace("%", "%%")


def _checked(value: Any, hint: Any, field: dataclasses.Field, place: str) -> Any:
    converted = _convert(value, hint, place)
    choices = field.metadata.get("choices")
    if choices and converted not in choices:
        near = did_you_mean(str(converted), map(str, choices))
        raise UserError(f"{place} must be one of {', '.join(map(str, choices))}, not {value!r}{near}")
    return converted


def _convert(value: Any, hint: Any, place: str) -> Any:
    """`value`, from YAML or the command line, as the annotated type. PyYAML reads 1e-4 as text, hence the care."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None or (isinstance(value, str) and value.lower() in ("none", "null")):
            return None
        return _convert(value, next(kind for kind in arguments if kind is not type(None)), place)
    if origin is tuple:
        items = value.replace(",", " ").split() if isinstance(value, str) else value
        if not isinstance(items, Sequence):
            items = [items]
        if Ellipsis not in arguments and len(items) != len(arguments):
            raise UserError(f"{place} needs {len(arguments)} values, not {value!r}")
        return tuple(_convert(item, arguments[0], place) for item in items)
    if hint is bool:
        return _boolean(value, place)
    if hint is str and isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, bool) or (hint is not str and not isinstance(value, (int, float, str))):
        raise UserError(f"{place} must be {_name(hint)}, not {value!r}")
    if hint is str and not isinstance(value, str):
        raise UserError(f"{place} must be {_name(hint)}, not {value!r}")
    try:
        if hint is int and isinstance(value, float) and not value.is_integer():
            raise ValueError
        return hint(value)
    except (ValueError, OverflowError):
        raise UserError(f"{place} must be {_name(hint)}, not {value!r}") from None


def _boolean(value: Any, place: str) -> bool:
    word = str(value).lower()
    if word not in TRUE + FALSE:
        raise UserError(f"{place} must be true or false, not {value!r}")
    return word in TRUE


def _name(hint: type) -> str:
    return {int: "a whole number", float: "a number", str: "a text"}.get(hint, hint.__name__)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
