"""A fixture, and the comparisons that a runner makes with it."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

PASS, FAIL, NO_RUNNER, NOT_COMPARED = "pass", "FAIL", "NO RUNNER", "not compared"
GIVEN = ("state", "in")  # groups that are no results
TINY = 1e-30  # instead of a division by zero


class Row(NamedTuple):
    """One line of the table: a quantity of a file, that is all arrays of a group."""

    file: str
    mode: str
    quantity: str
    verdict: str
    arrays: int = 0
    error: float = math.nan  # the largest absolute difference
    bound: str = ""  # the tolerance
    share: float = math.nan  # the worst array as a share of the tolerance; above 1 is beyond it
    detail: str = ""

    @property
    def fails(self) -> bool:
        """Return whether the check ends with exit code 1 because of it."""
        return self.verdict in (FAIL, NO_RUNNER)


class Comparison(NamedTuple):
    key: str
    error: float
    bound: str
    share: float
    detail: str = ""


class MissingError(KeyError):
    """The fixture does not have an array that a runner needs."""


class Golden:
    """A fixture for one run of its runner.

    Args:
        name: of the file.
        arrays: key -> array.
        config: what the manifest says of the network.
        tolerance: group ("grad/") -> bounds, or name -> bound; see `judge`.
        mode: mode of MindSpore that the runner is called in.
    """

    def __init__(
        self,
        name: str,
        arrays: Mapping[str, np.ndarray],
        config: Mapping[str, Any],
        tolerance: Mapping[str, Any],
        mode: str = "",
    ) -> None:
        self.name, self.arrays, self.config, self.tolerance, self.mode = name, arrays, config, tolerance, mode
        self._compared: dict[str, list[Comparison]] = {}
        self._set_aside: dict[str, tuple[str, str]] = {}  # key -> (verdict, reason)

    def __getitem__(self, key: str) -> np.ndarray:
        if key not in self.arrays:
            raise MissingError(key)
        return self.arrays[key]

    def under(self, prefix: str) -> dict[str, np.ndarray]:
        """The arrays whose key begins with the prefix, by the rest of the key."""
        return {key[len(prefix) :]: array for key, array in self.arrays.items() if key.startswith(prefix)}

    def compare(self, key: str, value: Any, *, bounds: Mapping[str, float] | None = None, quantity: str = "") -> None:
        """Compare one array, if the fixture has it.

        Args:
            key: of the reference.
            value: what our code gives: an array, a number or a Tensor.
            bounds: as for `judge`; None takes the manifest's for the group of the key.
            quantity: row that the array counts in; "" is the group of the key.
        """
        if key not in self.arrays:
            return
        group = key.split("/")[0] + "/"
        bounds = self.tolerance.get(group) if bounds is None else bounds
        value = value.asnumpy() if hasattr(value, "asnumpy") else np.asarray(value)
        self._compared.setdefault(quantity or group, []).append(judge(key, self.arrays[key], value, bounds))

    def compare_all(self, prefix: str, values: Mapping[str, Any]) -> None:
        """Compares every array under the prefix; one that `values` lacks stays open and is reported as unknown."""
        for name in self.under(prefix):
            if name in values:
                self.compare(prefix + name, values[name])

    def set_aside(self, key: str, verdict: str = "", reason: str = "") -> np.ndarray:
        """Do not compare an array, and list it with this verdict; "" does not list it: it is no result."""
        self._set_aside[key] = (verdict, reason)
        return self.arrays[key]

    def rows(self, every_array: bool = False, *, finished: bool = True) -> list[Row]:
        """One row for each quantity (and for each of its arrays), then those of arrays that were not compared.

        Args:
            finished: False when the runner broke, and what it did not come to is not to be held against it.
        """
        rows = []
        for quantity, compared in self._compared.items():
            rows.append(self._row(quantity, compared))
            rows += [self._row(c.key, [c]) for c in compared] if every_array else []
        seen = {c.key for compared in self._compared.values() for c in compared}
        unknown = (FAIL, "unknown quantity: its runner does not compare it")
        for key in self.arrays:
            verdict, reason = self._set_aside.get(key, unknown)
            if finished and verdict and key not in seen and key.split("/")[0] not in GIVEN:
                rows.append(Row(self.name, self.mode, key, verdict, 1, detail=reason))
        return rows

    def _row(self, quantity: str, compared: list[Comparison]) -> Row:
        worst = max(compared, key=lambda c: c.share)
        bad = [c for c in compared if c.share > 1]
        detail = f"worst {worst.key.partition('/')[2]}" if len(compared) > 1 else ""
        if bad:
            detail = f"{len(bad)} of {len(compared)} beyond: " + "; ".join(f"{c.key} {c.detail}" for c in bad[:5])
        error = max(c.error for c in compared)
        verdict = FAIL if bad else PASS
        return Row(self.name, self.mode, quantity, verdict, len(compared), error, worst.bound, worst.share, detail)


def judge(key: str, reference: np.ndarray, value: np.ndarray, bounds: Mapping[str, float] | None) -> Comparison:
    """How far `value` is from `reference`, as a share of the bounds; all of them count.

    Args:
        bounds: any of atol_absolute (largest difference), atol_relative_to_max_abs (that over the reference's largest
            value), rel_l2 (norm of the difference over the reference's), rel (largest difference over the value it is
            at). 0 asks for equality.
    """
    if not bounds:
        return Comparison(key, math.inf, "none", math.inf, "(the manifest has no tolerance for it)")
    bound = ", ".join(f"{limit:.1e} {_SHORT[name]}" for name, limit in bounds.items())
    if reference.shape != value.shape:
        return Comparison(key, math.inf, bound, math.inf, f"(shape {value.shape} instead of {reference.shape})")
    reference, value = reference.astype(np.float64), value.astype(np.float64)
    with np.errstate(invalid="ignore"):  # infinite minus or over infinite
        difference = np.where(reference == value, 0, np.abs(value - reference))
        difference = np.nan_to_num(difference, nan=math.inf, posinf=math.inf).ravel()
        peak, norm = np.abs(reference).max(initial=0), np.linalg.norm(reference)
        error = difference.max(initial=0)
        measured = {
            "atol_absolute": error,
            "atol_relative_to_max_abs": error / np.maximum(peak, TINY),
            "rel_l2": np.linalg.norm(difference) / np.maximum(norm, TINY),
            "rel": (difference / np.maximum(np.abs(reference.ravel()), TINY)).max(initial=0),
        }
    share = max(_share(measured[name], limit) for name, limit in bounds.items())
    return Comparison(key, float(error), bound, share, f"(error {error:.2e}, {share:.3g} times the tolerance)")


_SHORT = {"atol_absolute": "abs", "atol_relative_to_max_abs": "of max", "rel_l2": "l2", "rel": "rel"}


def _share(measured: float, limit: float) -> float:
    if math.isnan(measured):
        return math.inf
    return measured / limit if limit else math.inf if measured else 0.0
