"""Write the tables of each model's weights/README.md and README_CN.md from what the checkpoints say of themselves.

python ci/weights_table.py                                        # all tables
python ci/weights_table.py RUN/ckpt/best.ckpt WDSR/weights/wdsr_b_small_x3.ckpt FOLDER     # publish, then all tables

To publish is to copy the weights of a run, without the paths of the machine, with the means of FOLDER, where eval.py
measured them.
"""

import csv
import hashlib
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from common import checkpoint  # noqa: E402

KEPT = ("model", "scale", "stage", "hyper", "heat", "step", "best", "epoch", "version")
SHOWN = {"PSNR-Y": 2, "SSIM-Y": 4, "LPIPS": 4, "LR-PSNR": 2}  # figures of the table, with their digits
HEADS = {
    "README.md": ["file", "scale", "parameters", "MB", "steps of the last run"],
    "README_CN.md": ["文件", "倍数", "参数量", "MB", "最后一次训练的步数"],
}
BEGIN, END = "<!-- weights: ci/weights_table.py -->", "<!-- end -->"


def publish(source: Path, target: Path, evaluation: Path | None = None) -> None:
    """Write a run's checkpoint as demo weights."""
    saved = checkpoint.read(str(source))
    meta = {key: saved.meta[key] for key in KEPT if key in saved.meta}
    meta["config"] = {key: without_folders(value) for key, value in saved.meta["config"].items()}
    meta["figures"] = figures_of(evaluation) if evaluation else saved.meta.get("figures", {})
    checkpoint.save(str(target), checkpoint.Checkpoint(saved.weights, meta))


def without_folders(value: Any) -> Any:
    """Return an option's value, of each path in it the last name: "/data/BSD200+/data/T91" -> "BSD200+T91"."""
    return re.sub(r"[^+,]*/(?=[^/+,]*)", "", value) if isinstance(value, str) and "/" in value else value


def figures_of(evaluation: Path) -> dict[str, dict[str, float]]:
    """Return set -> heading of eval.py's CSV file -> mean over the images."""
    found = {}
    for path in sorted(evaluation.glob("*.csv")):
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        headings = [name for name in rows[0] if ": " in name]
        found[path.stem] = {name: round(float(np.mean([float(row[name]) for row in rows])), 5) for name in headings}
    return found


def table(folder: Path, heads: list[str]) -> str:
    """Return the Markdown table of the checkpoints of a weights/ folder, smallest scale first."""
    paths = sorted(folder.glob("*.ckpt"), key=lambda path: (int(path.stem.rpartition("_x")[2]), path.name))
    files = {path: checkpoint.read(str(path)) for path in paths}
    sets = sorted(
        {name for saved in files.values() for name in saved.meta["figures"]}, key=lambda name: (len(name), name)
    )
    rows = [
        [*heads, *sets, "SHA-256"],
        ["---", *["---:"] * 4, *["---"] * len(sets), "---"],
    ]
    for path, saved in files.items():
        meta = saved.meta
        numbers = [
            f"x{meta['scale']}",
            f"{sum(map(np.size, saved.weights.values())):,}",
            f"{path.stat().st_size / 1e6:.1f}",
        ]
        cells = [cell(meta["figures"].get(name, {})) for name in sets]
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        rows.append([f"`{path.name}`", *numbers, f"{meta['step']:,}", *cells, f"`{digest}`"])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def cell(figures: dict[str, float]) -> str:
    """Return the figures of a set: "PSNR-Y (crop 2) 37.36 (bicubic 33.67)", one below the other."""
    lines = []
    for start, digits in SHOWN.items():
        of = {name: value for name, value in figures.items() if name.startswith(start) and not name.endswith("draws")}
        bicubic = next((value for name, value in of.items() if name.endswith("bicubic")), None)
        beside = "" if bicubic is None else f" (bicubic {bicubic:.{digits}f})"
        for name, value in of.items():
            figure, column = name.rsplit(": ", 1)
            if column != "bicubic":
                said = figure if column in ("SR", "IRN") else f"{figure}, {column}"
                lines.append(f"{said} {value:.{digits}f}{beside}")
    return "<br>".join(lines)


def page(folder: Path, name: str) -> str:
    """Return a README of a weights/ folder with its table made anew."""
    before, _, rest = (folder / name).read_text(encoding="utf-8").partition(BEGIN)
    return f"{before}{BEGIN}\n\n{table(folder, HEADS[name])}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    if sys.argv[1:]:
        publish(*map(Path, sys.argv[1:]))
    for path in sorted(ROOT.glob("*/weights/README*.md")):
        path.write_text(page(path.parent, path.name), encoding="utf-8")
