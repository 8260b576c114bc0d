"""The command line of a program, made from its configuration class: what it takes, and what `--help` prints."""

import argparse
import dataclasses
import re
import shutil
import typing
from typing import Any

from common import UserError
from common.config.values import did_you_mean, says_default

WIDEST = 120  # columns of `--help`
CONFIG_FLAGS = "--config", "--config_path", "--opt", "-opt"
PRINT = "print_config"
OTHERS = "also "  # opens the other spellings of an option


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
        settings.setdefault("formatter_class", Formatter)
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> typing.NoReturn:
        known = [name for action in self._actions for name in action.option_strings]
        words = message.partition("unrecognized arguments: ")[2].split()
        hint = did_you_mean(words[0].partition("=")[0], known) if words else ""
        raise UserError(f"{message}{hint} (--help lists the options)")

    def parse_inputs(self, argv: typing.Sequence[str] | None) -> tuple[list[str], argparse.Namespace]:
        """(words without a flag, wherever they stand; what the flags give)."""
        arguments, inputs = self.parse_known_args(argv)
        if (unknown := next((place for place, word in enumerate(inputs) if word.startswith("-")), None)) is not None:
            self.error(f"unrecognized arguments: {' '.join(inputs[unknown:])}")
        return inputs, arguments


def parser_of(cls: type, description: str, usage: str = "") -> Parser:
    """The parser for a configuration class; values stay text, and what is not given is None.

    The options are listed in groups: those of the class itself, then those of each class that it is put together from,
    under the first words of its docstring, up to a full stop or a colon.

    Args:
        description: opens `--help`.
        usage: what is typed behind the program's name before the options, one line for each way; "decode LATENTS ...".
    """
    lines = [f"%(prog)s {line}".strip() for line in usage.split("\n")]
    shown = "\n       ".join(f"{line} [--option VALUE ...]" for line in lines)
    parser = Parser(description=description.strip(), usage=shown)
    if "config" not in {field.name for field in dataclasses.fields(cls)}:
        text = _with_spellings("YAML file with any of the options below", CONFIG_FLAGS[1:])
        parser.add_argument(*CONFIG_FLAGS, dest="config", metavar="FILE", help=text)
    text = "print the options as YAML, as the command line and --config give them, and exit"
    parser.add_argument(f"--{PRINT}", action="store_true", help=text)
    for title, names in groups(cls).items():
        _add_options(parser.add_argument_group(title) if title else parser, cls(), names)
    return parser


def spellings(cls: type) -> dict[str, str]:
    """Every name of every option, its own among them -> its own."""
    found = {}
    for field in dataclasses.fields(cls):
        found |= dict.fromkeys((field.name, *field.metadata.get("aliases", ())), field.name)
    return found


def groups(cls: type) -> dict[str, list[str]]:
    """Title -> options, in the order of the classes that they come from; the title of the class itself is empty."""
    names = [field.name for field in dataclasses.fields(cls)]
    # A class that only says an option's default anew does not take it out of its group.
    origins = {name: next(one for one in reversed(cls.__mro__) if name in _own(one)) for name in names}
    titles: dict[str, list[str]] = {}
    for one in cls.__mro__:
        title = "" if one is cls else re.split(r"[.:]", " ".join((one.__doc__ or one.__name__).split()))[0]
        titles.setdefault(title[:1].lower() + title[1:], []).extend(name for name in names if origins[name] is one)
    return {title: sorted(own, key=names.index) for title, own in titles.items() if own}


def _own(cls: type) -> dict[str, Any]:
    return vars(cls).get("__annotations__", {})


def _add_options(place: Any, defaults: Any, names: typing.Collection[str], prefix: str = "") -> None:
    hints = typing.get_type_hints(type(defaults))
    for field in dataclasses.fields(defaults):
        if field.name not in names:
            continue
        default, name = getattr(defaults, field.name), prefix + field.name
        if dataclasses.is_dataclass(default):
            _add_options(place, default, [inner.name for inner in dataclasses.fields(default)], name + ".")
            continue
        flags = [f"--{prefix}{one}" for one in (field.name, *field.metadata.get("aliases", ()))]
        flags += [f"-{field.metadata['short']}"] if field.metadata.get("short") else []
        text = _with_default(field.metadata.get("help", ""), default)
        kind = _kind(hints[field.name])
        place.add_argument(
            *flags,
            dest=name,
            metavar=_metavar(field, kind, default),
            help=_with_spellings(text, flags[1:]).replace("%", "%%"),
            **({"nargs": "?", "const": "true"} if kind is bool else {}),
            **({"action": "append"} if field.metadata.get("repeated") else {}),
        )


def _kind(hint: Any) -> Any:
    """The type of a value, of several or of one that may be missing; a pair of dots where it is several."""
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is tuple:
        return arguments[0], ...
    return next((one for one in arguments if one is not type(None)), hint)


def _metavar(field: dataclasses.Field, kind: Any, default: Any) -> str:
    """What stands for the value: its choices, its type, or the last word of the option's name."""
    if choices := field.metadata.get("choices"):
        stands_for_another = (default,) if says_default(field.metadata["help"]) else ()
        return "{" + ",".join(str(one) for one in choices if one not in (*stands_for_another, "")) + "}"
    word = field.name.rpartition("_")[2].upper()
    if isinstance(kind, tuple):
        word = {int: "N", float: "X"}.get(kind[0], word)
        return f"{word},{word} ..."
    return {bool: "{true,false}", int: "N", float: "X"}.get(kind, word)


def _with_default(text: str, default: Any) -> str:
    if says_default(text):
        return text
    if isinstance(default, tuple):
        default = ",".join(map(str, default))
    shown = str(default).lower() if isinstance(default, bool) else default
    return f"{text} [{'none' if shown in ('', None) else shown}]"


def _with_spellings(text: str, flags: typing.Sequence[str]) -> str:
    return f"{text}; {OTHERS}{', '.join(flags)}" if flags else text
