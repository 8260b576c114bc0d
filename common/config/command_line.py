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
