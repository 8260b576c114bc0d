"""Compare our networks, metrics and schedules with reference values made by the authors' code.

python ci/check_goldens.py                                   # the values in ci/goldens
python ci/check_goldens.py --goldens DIR --only wdsr         # another folder of the same format, some of its files

One row for each file, mode of MindSpore and quantity. Exit code 0: all within the tolerance that the folder's
manifest.json gives; 1: something is beyond it, or has no runner yet; 2: the folder cannot be used.
"""

import logging
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that the script also runs uninstalled

from ci.golden_runners import folder, registry  # noqa: E402
from ci.golden_runners.core import FAIL, NO_RUNNER, NOT_COMPARED, PASS, Golden, MissingError, Row  # noqa: E402
from common import config, runtime  # noqa: E402
from common.config import option  # noqa: E402

log = logging.getLogger(__name__)
TITLES = ("file", "mode", "quantity", "arrays", "max error", "tolerance", "share", "verdict")
WIDTHS = (49, 8, 34, 6, 9, 26, 7, 0)


@dataclass(frozen=True)
class Options:
    goldens: str = option(str(ROOT / "ci" / "goldens"), "folder with manifest.json and the .npz files it lists")
    only: str = option("", "take only the files whose name begins so")
    every_array: bool = option(False, "a row for each array, too")
    mode: str = option("", "one mode of MindSpore only; default: both", choices=("", *registry.MODES))
    device_target: str = option("CPU", "where the networks run", choices=runtime.DEVICE_CHOICES)


def main(argv: Sequence[str] | None = None) -> int:
    runtime.start_log()
    options = config.parse(Options, argv, description=__doc__)
    fixtures, inventories = folder.read_folder(Path(options.goldens), options.only)
    runtime.start(options.device_target)
    show(TITLES)
    return summarise(report(run(fixtures, inventories, options.every_array, options.mode)))


def run(
    fixtures: Sequence[folder.Fixture],
    inventories: Sequence[folder.Inventory],
    every_array: bool = False,
    mode: str = "",
) -> Iterator[Row]:
    registry.load_runners()
    for fixture in fixtures:
        yield from run_fixture(fixture, every_array, mode)
    for inventory in inventories:
        yield from run_inventory(inventory)


def run_fixture(fixture: folder.Fixture, every_array: bool = False, only_mode: str = "") -> Iterator[Row]:
    """The rows of a .npz file, in every mode that its runner asks for, or in this one of them."""
    runner = registry.find_fixture(fixture.name)
    if runner is None:
        yield Row(fixture.name, "", "the whole file", NO_RUNNER, len(fixture.arrays), detail="not built yet")
        return
    for mode in runner.modes:
        if only_mode and mode and mode != only_mode:
            continue
        golden, finished = Golden(*fixture, mode), True
        try:
            with runtime.graph_mode(mode == registry.GRAPH):
                runner.function(golden)
        except MissingError as error:
            finished, detail = False, f"the file has no {error.args[0]}; its runner ended there"
            yield Row(fixture.name, mode, "the rest", NOT_COMPARED, detail=detail)
        except Exception as error:  # a network that breaks is a failed check; the other files are still run
            finished = False
            yield broken(fixture.name, mode, error)
        yield from golden.rows(every_array, finished=finished)


def run_inventory(inventory: folder.Inventory) -> Iterator[Row]:
    """The rows of a list of names and shapes: names, shapes and number of the trained values."""
    name = f"{folder.KEYS}/{inventory.name}.json"
    runner = registry.find_full_size(inventory.name)
    if runner is None:
        yield Row(name, "", "the whole file", NO_RUNNER, len(inventory.shapes), detail="not built yet")
        return
    try:
        network = runner.function(inventory)
    except Exception as error:  # as above
        yield broken(name, "", error)
        return
    ours = {parameter.name: tuple(parameter.shape) for parameter in network.get_parameters()}
    trained = {parameter.name for parameter in network.trainable_params()}
    problems = {
        "missing": sorted(inventory.shapes.keys() - inventory.fixed - trained),
        "added": sorted(ours.keys() - inventory.shapes.keys()),
        "shape": [key for key in ours if ours[key] != inventory.shapes.get(key, ours[key])],
    }
    total = sum(parameter.size for parameter in network.trainable_params())
    found = "; ".join(f"{what}: {', '.join(keys[:5])}" for what, keys in problems.items() if keys)
    wrong = sum(len(keys) for keys in problems.values())
    yield Row(name, "", "names and shapes", FAIL if wrong else PASS, len(ours), wrong, "exact", detail=found)
    verdict = PASS if total == inventory.trainable else FAIL
    detail = f"{total:,} values, {inventory.trainable:,} wanted"
    yield Row(name, "", "trained values", verdict, 1, abs(total - inventory.trainable), "exact", detail=detail)


def broken(name: str, mode: str, error: Exception) -> Row:
    """The row of a runner that raised; the log has the traceback."""
    log.error("%s", "".join(traceback.format_exception(error)))
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return Row(name, mode, "the whole file", FAIL, detail=reason)


def report(rows: Iterator[Row]) -> list[Row]:
    kept = []
    for row in rows:
        share = f"{row.share:.1%}" if row.share < 1000 else "inf" if row.share > 0 else ""
        error = f"{row.error:.1e}" if row.error == row.error else ""
        verdict = f"{row.verdict}: {row.detail}" if row.detail else row.verdict
        show((row.file, row.mode, row.quantity, str(row.arrays), error, row.bound, share, verdict))
        kept.append(row)
    return kept


def show(cells: Sequence[str]) -> None:
    print(" ".join(cell.ljust(width) for cell, width in zip(cells, WIDTHS, strict=True)), flush=True)


def summarise(rows: Sequence[Row]) -> int:
    """Prints how many rows have each verdict, and which files fail; returns the exit code."""
    counts = {verdict: sum(row.verdict == verdict for row in rows) for verdict in (PASS, FAIL, NO_RUNNER, NOT_COMPARED)}
    lines = ["", ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)]
    for verdict in (FAIL, NO_RUNNER):
        files = sorted({row.file for row in rows if row.verdict == verdict})
        lines += [f"{verdict}: {', '.join(files)}"] if files else []
    print("\n".join(lines), flush=True)
    return 1 if any(row.fails for row in rows) else 0


if __name__ == "__main__":
    runtime.run_main(main)
