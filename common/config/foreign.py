"""The authors' and the seeds' files: every key is an option of ours, a value that we insist on, or refused.

A model has the table of names, key by key; here it is held against a file.
"""

import logging
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from common import UserError
from common.config.options import Translated, read_yaml
from common.config.values import did_you_mean

log = logging.getLogger(__name__)


class Only(NamedTuple):
    """A key that is accepted with one value, or several as `yes|true`."""

    value: str
    otherwise: str  # why no other


class Refused(NamedTuple):
    """A key that cannot be honoured."""

    why: str


class Unused(NamedTuple):
    """A key that changes nothing; a line of the log says so."""

    why: str


Meaning = str | Only | Refused | Unused | None  # an option's name; None: of another program


def read_sections(path: str | Path, keys: Mapping[str, Meaning], sections: Collection[str]) -> dict[str, Any]:
    """The options that a file gives, by our names; `~` leaves an option at its default.

    A file without any of the authors' sections holds options by our names already, as a run's config.yaml does.
    """
    content = read_yaml(path)
    if not any(section in content for section in sections):
        return content
    # Nothing also stands for a section without keys.
    given = {
        key: value
        for key, value in leaves(content)
        if value is not None or not any(f"{known}.".startswith(f"{key}.") for known in keys)
    }
    unknown = [f"unknown key {key!r}{did_you_mean(key, keys)}" for key in given if key not in keys]
    return from_table({key: value for key, value in given.items() if key in keys}, keys, path, unknown)


def from_table(
    content: Mapping[str, Any], keys: Mapping[str, Meaning], path: str | Path, faults: Collection[str] = ()
) -> Translated:
    """Return the options that a file's keys stand for; a key that is not in the table is one by itself.

    `faults` are what is wrong with the file besides, to be said at once.
    """
    options, faults = Translated(), list(faults)
    for key, value in content.items():
        meaning = keys.get(key, key)
        if isinstance(meaning, Refused):
            faults.append(f"{key} is not used here ({meaning.why}): remove it")
        elif isinstance(meaning, Unused):
            log.info("%s: %s is not used (%s)", path, key, meaning.why)
        elif isinstance(meaning, Only):
            accepted = meaning.value.split("|")
            if str(value).lower() not in map(str.lower, accepted):
                faults.append(f"{key} must be {' or '.join(accepted)}, not {value!r}: {meaning.otherwise}")
        elif meaning:
            options.spelled.setdefault(meaning, key.rpartition(".")[2])
            if options.setdefault(meaning, value) != value:
                faults.append(f"{key} is {value!r}, but {meaning} has been given as {options[meaning]!r} above")
    if faults:
        raise UserError(f"{path}: " + "; ".join(faults))
    return options


def leaves(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of everything that is not a section."""
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
