"""Values from YAML, JSON or the command line -> the type that a configuration's field is annotated with."""

import dataclasses
import difflib
import math
import os
import re
import types
import typing
from collections.abc import Iterable
from typing import Any

from common import UserError

TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
_NAMES = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def checked(value: Any, hint: Any, field: dataclasses.Field, place: str) -> Any:
    """Convert as `hint` says, within the field's choices and bounds; `place` (source and key) opens the message."""
    converted = _convert(value, hint, place)
    choices, lowest, bound = (field.metadata.get(key) for key in ("choices", "at_least", "below"))
    if choices and isinstance(converted, str):  # in any case of letters
        converted = next((choice for choice in choices if choice.lower() == converted.lower()), converted)
    if choices and converted not in choices:
        near = did_you_mean(str(converted), map(str, choices))
        placeholder = field.default if says_default(field.metadata.get("help", "")) else ""
        known = ", ".join(str(choice) for choice in choices if choice not in ("", placeholder))
        raise UserError(f"{place} must be one of {known}, not {value!r}{near}")
    if lowest is not None and converted is not None and converted < lowest:
        raise UserError(f"{place} must be {lowest} or more, not {value!r}")
    if bound is not None and converted is not None and converted >= bound:
        raise UserError(f"{place} must be below {bound}, not {value!r}")
    return converted


def _convert(value: Any, hint: Any, place: str) -> Any:
    arguments = typing.get_args(hint)
    if types.NoneType in arguments:
        return None if str(value).lower() in ("none", "null") else _convert(value, arguments[0], place)
    if typing.get_origin(hint) is tuple:
        items = value.strip("()[]").replace(",", " ").split() if isinstance(value, str) else value
        items = items if isinstance(items, (list, tuple)) else [items]
        kinds = [arguments[0]] * len(items) if Ellipsis in arguments else arguments
        if len(items) != len(kinds):
            raise UserError(f"{place} needs {len(kinds)} values, not {value!r}")
        return tuple(_convert(item, kind, place) for item, kind in zip(items, kinds, strict=True))
    wrong = UserError(f"{place} must be {_NAMES[hint]}, not {value!r}")
    if hint is bool:
        if str(value).lower() not in TRUE + FALSE:
            raise wrong
        return str(value).lower() in TRUE
    if isinstance(value, bool) or not isinstance(value, (int, float, str, os.PathLike)):
        raise wrong
    if isinstance(value, str) and value.startswith("~/"):  # which a shell puts in on the command line, nobody in a file
        value = os.path.expanduser(value)
    try:
        converted = hint(value)
    except (ValueError, OverflowError, TypeError):
        raise wrong from None
    rounded = hint is int and isinstance(value, float) and converted != value
    if rounded or (hint is int and abs(converted) >= 2**63) or (hint is float and not math.isfinite(converted)):
        raise wrong
    return converted


def counting_number(word: str) -> int | None:
    """Return the number that up to nine decimal digits are; None for anything else, also for `²` and `-1`."""
    return int(word) if re.fullmatch(r"\s*[0-9]{1,9}\s*", word) else None


def says_default(text: str) -> bool:
    """Return whether an option's text says what happens by default; its default value is then a placeholder."""
    return "default: " in text


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean ...?" when a known word is near, else an empty text."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""
