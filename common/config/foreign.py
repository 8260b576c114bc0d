"""Read the authors' and the seeds' files by a model's table: each key is an option, one admitted value, or refused."""

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
    why: str


class Unused(NamedTuple):
    """A key that changes nothing; a line of the log says so."""

    why: str


Meaning = str | Only | Refused | Unused | None  # an option's name; None: of another program


def read_sections(path: str | Path, keys: Mapping[str, Meaning], sections: Collection[str]) -> dict[str, Any]:
    """Return a file's options by our names, as a run's config.yaml has them already; `~` leaves one at its default."""
    content = read_yaml(path)
    if not any(section in content for section in sections):
        return content
    # An empty section is None.
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
    """Return the options that the keys stand for, unknown ones as they are; `faults` are said with those found here."""
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
    """Yield (dotted key, value) of everything that is not a section."""
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
