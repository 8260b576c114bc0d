"""The command `python -m common.mindrecord`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from common.config import Parser
from common.mindrecord.manifest import Manifest, read_manifest
from common.mindrecord.pack import PackOptions, pack
from common.mindrecord.read import unpack, verify
from common.runtime import run_main, start_log

DESCRIPTION = """Images to MindRecord and back.

    python -m common.mindrecord pack --hr DIV2K/DIV2K_train_HR --patch 160 --crops 47 --output train.mindrecord
    python -m common.mindrecord verify train.mindrecord
"""
PACKING = """Write a set from folders of images: HR and LR, whole or cut into patches.

    python -m common.mindrecord pack --hr DIV2K/DIV2K_train_HR --patch 0 --output whole.mindrecord      # x4, bicubic LR
    python -m common.mindrecord pack --hr HR --lr LR --patch 160 --stride 80 --output train.mindrecord  # overlapping
"""


def main(argv: Sequence[str] | None = None) -> int:
    arguments = vars(_parser().parse_args(argv))
    command, path = arguments.pop("command"), arguments.get("path")
    if command == "pack":
        told = f"packed {arguments['output']}: {_summary(pack(PackOptions(**arguments)))}"
    elif command == "verify":
        manifest = verify(path)
        told = f"{path} is sound: {manifest.records} records, {len(manifest.files)} files"
    elif command == "unpack":
        told = f"wrote {unpack(**arguments)} images to {arguments['output'] / 'HR'} and as many to LR beside it"
    else:
        told = _description(path, read_manifest(path))
    print(told)  # noqa: T201
    return 0


def _description(path: Path, manifest: Manifest) -> str:
    patch = f"{manifest.patch} x {manifest.patch}" if manifest.patch else "whole images"
    lines = [
        f"set       {path}, {_summary(manifest)}",
        f"images    HR {patch}, {manifest.encoding}; LR x1/{manifest.scale}, from {manifest.lr_source}",
        f"columns   {', '.join(name + ' (' + kind['type'] + ')' for name, kind in manifest.columns.items())}",
        *(f"  skipped {name}: {reason}" for name, reason in manifest.skipped.items()),
        f"content   sha256 {manifest.content_sha256}",
        *(f"file      {name}  {file['bytes']:,} bytes  {file['sha256']}" for name, file in manifest.files.items()),
        f"packed    {', '.join(f'{key}={value}' for key, value in manifest.arguments.items())}",
        f"by        MindSpore {manifest.mindspore}, manifest version {manifest.version}, pack {manifest.pack_id}",
    ]
    return "\n".join(lines)


def _summary(manifest: Manifest) -> str:
    size = sum(file["bytes"] for file in manifest.files.values())
    count = f"{manifest.records} records of {len(manifest.pictures)} images ({len(manifest.skipped)} skipped)"
    return f"{count}, {size / 1e6:.1f} MB, {size / manifest.payload_bytes:.3f} times the encoded images"


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m common.mindrecord", description=DESCRIPTION)
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser, title="commands")
    add = commands.add_parser("pack", help="write a set from folders of images", description=PACKING).add_argument
    add("--hr", type=Path, required=True, help="folder of HR images")
    add("--lr", type=Path, help="folder of LR images (0001x4.png or 0001.png); without it they are made by imresize")
    add("--scale", type=int, help="HR over LR; default 4, with --lr what the first pair shows")
    add("--output", type=Path, required=True, help="the set to write, X.mindrecord")
    add("--patch", "--patch_size", type=int, default=160, help="side of the HR patches, 0: whole images [%(default)s]")
    add("--stride", type=int, help="a patch every N HR pixels (default: side by side); the last ends at the edge")
    add("--crops", type=int, help="instead: N patches per image at random places (SRFlow's data: 47)")
    add("--seed", type=int, default=0, help="of the random places [%(default)s]")
    add("--encoding", choices=("png", "raw"), default="png", help="png: smaller; raw: faster [%(default)s]")
    add("--shards", type=int, default=1, help="number of data files [%(default)s]")
    add("--on_error", choices=("stop", "skip"), default="stop", help="at an unreadable image [%(default)s]")
    texts = {
        "verify": "hash a set, as each opening does, and decode and compare all its records",
        "info": "show what a set holds",
        "unpack": "write the records back as PNG files",
    }
    for name, text in texts.items():
        command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        command.add_argument("path", type=Path, help="the set, X.mindrecord")
        if name == "unpack":
            command.add_argument("--output", type=Path, required=True, help="folder for HR/ and LR/")
    return parser


if __name__ == "__main__":
    start_log()
    sys.exit(run_main(main))
