"""Cuts the full set of reference values down to this folder: python ci/goldens/cut.py FULL_SET

Everything that a network is built from and given stays, and every quantity keeps arrays; what goes are large arrays of
kinds that are there many times (results inside a network, gradients, weights after training, pictures enlarged 3 and
4 times). `python ci/check_goldens.py --goldens FULL_SET` runs the full set.
"""

import argparse
import json
import re
import shutil
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
LARGE_FILE = 300_000  # bytes; smaller ones are copied as they are
LARGE_ARRAY = {"mid": 2_000, "grad": 500, "after": 200}  # values
PICTURE = re.compile(r"(irn_np|matlab_\w+)/(?!random_24x36_up3|smooth_25x18).*_up[34]")


def stays(key: str, array: np.ndarray) -> bool:
    """Whether the array is kept."""
    limit = LARGE_ARRAY.get(key.split("/")[0])
    return not PICTURE.fullmatch(key) and (limit is None or array.size <= limit)


def cut(source: Path, target: Path, entry: dict) -> None:
    """Writes one file, and into its manifest entry what has gone."""
    if source.stat().st_size <= LARGE_FILE:
        shutil.copyfile(source, target)
        return
    with np.load(source, allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    kept = {key: array for key, array in arrays.items() if stays(key, array)}
    np.savez_compressed(target, **kept)
    entry["dropped_for_size"] = entry.get("dropped_for_size", []) + [key for key in arrays if key not in kept]
    entry["keys"] = {key: value for key, value in entry["keys"].items() if key in kept}
    entry["bytes"] = target.stat().st_size


def main() -> None:
    """Cut every file that the manifest lists; the lists of full-size networks stay whole."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("full_set", type=Path)
    source = parser.parse_args().full_set
    manifest = json.loads((source / "manifest.json").read_text(encoding="utf-8"))
    for name, entry in manifest["files"].items():
        cut(source / name, HERE / name, entry)
        entry.get("float32_vs_float64", {}).pop("per_key", None)
    write(HERE / "manifest.json", manifest)
    (HERE / "full_size_keys").mkdir(exist_ok=True)
    for path in sorted((source / "full_size_keys").glob("*.json")):
        write(HERE / "full_size_keys" / path.name, json.loads(path.read_text(encoding="utf-8")))


def write(path: Path, content: dict) -> None:
    """Indented JSON with innermost lists on one line, not a line for each number."""
    text = re.sub(r"\[\n[^\[\]{}]*\]", lambda match: json.dumps(json.loads(match[0])), json.dumps(content, indent=1))
    path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
