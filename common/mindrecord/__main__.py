"""The command `python -m common.mindrecord`."""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from common.config import Parser
from common.mindrecord.manifest import Manifest, read_manifest
from common.mindrecord.pack import ENCODINGS, ON_ERROR, PackOptions, pack, repair
from common.mindrecord.read import unpack, verify
from common.runtime import run_main, start_log

DESCRIPTION = """Pictures to MindRecord and back.

    python -m common.mindrecord pack --hr DIV2K/DIV2K_train_HR --patch 160 --crops 47 --output train.mindrecord
    python -m common.mindrecord verify train.mindrecord
"""
PACKING = """Write a set from folders of pictures: HR and LR, whole or cut into patches.

    python -m common.mindrecord pack --hr DIV2K/DIV2K_train_HR --patch 0 --output whole.mindrecord      # x4, bicubic LR
    python -m common.mindrecord pack --hr HR --lr LR --patch 160 --stride 80 --output train.mindrecord  # overlapping
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit code 0; a mistake or a damaged set raises UserError (exit code 2)."""
    arguments = vars(_parser().parse_args(argv))
    command = arguments.pop("command")
    return {"pack": _pack, "verify": _verify, "info": _info, "unpack": _unpack, "repair": _repair}[command](**arguments)


def describe(path: Path, manifest: Manifest) -> str:
    """The manifest for people."""
    files = sum(stated["bytes"] for stated in manifest.files.values())
    patch = f"{manifest.patch} x {manifest.patch}" if manifest.patch else "whole pictures"
    made = "given" if manifest.lr_source == "files" else "made by imresize (MATLAB bicubic)"
    lines = [
        f"set       {path}, {manifest.records} records in {manifest.shards} file(s), pack {manifest.pack_id}",
        f"pictures  HR {patch}, {manifest.encoding}; LR x1/{manifest.scale}, {made}",
        f"size      {files:,} bytes, {files / manifest.payload_bytes:.3f} times those of the encoded pictures",
        f"columns   {', '.join(name + ' (' + kind['type'] + ')' for name, kind in manifest.columns.items())}",
        f"sources   {len(manifest.pictures)} pictures packed, {len(manifest.skipped)} skipped",
        *(f"  skipped {name}: {reason}" for name, reason in manifest.skipped.items()),
        f"content   sha256 {manifest.content_sha256}",
        *(
            f"file      {name}  {stated['bytes']:,} bytes  {stated['sha256']}"
            for name, stated in manifest.files.items()
        ),
        f"packed    {', '.join(f'{key}={value}' for key, value in manifest.arguments.items())}",
        f"by        MindSpore {manifest.mindspore}, manifest version {manifest.version}",
    ]
    return "\n".join(lines)


def _pack(**arguments: object) -> int:
    options = PackOptions(**arguments)
    manifest = pack(options)
    files = sum(stated["bytes"] for stated in manifest.files.values())
    _say(
        f"packed {manifest.records} records of {len(manifest.pictures)} pictures ({len(manifest.skipped)} skipped): "
        f"{options.output}, {files / 1e6:.1f} MB, {files / manifest.payload_bytes:.3f} times the payload"
    )
    return 0


def _verify(path: Path) -> int:
    manifest = verify(path)
    _say(f"{path} is sound: {manifest.records} records, {len(manifest.files)} files")
    return 0


def _info(path: Path) -> int:
    _say(describe(path, read_manifest(path)))
    return 0


def _unpack(path: Path, output: Path) -> int:
    count = unpack(path, output)
    _say(f"wrote {count} pictures to {output / 'HR'} and as many to {output / 'LR'}")
    return 0


def _repair(path: Path) -> int:
    done = repair(path)
    verify(path)
    _say(f"{path} is {'repaired and sound' if done else 'sound, there was nothing to repair'}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m common.mindrecord", description=DESCRIPTION)
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser, title="commands")
    _add_pack(commands.add_parser("pack", help="write a set from folders of pictures", description=PACKING))
    for name, text in {
        "verify": "hash a set, as each opening does, and decode and compare all its records",
        "info": "show what a set holds",
        "unpack": "write the records back as PNG files",
        "repair": "finish a pack that was killed while it moved its files into place",
    }.items():
        command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        command.add_argument("path", type=Path, help="the set, X.mindrecord")
        if name == "unpack":
            command.add_argument("--output", type=Path, required=True, help="folder for HR/ and LR/")
    return parser


def _add_pack(parser: argparse.ArgumentParser) -> None:
    default = {field.name: field.default for field in dataclasses.fields(PackOptions)}
    add = parser.add_argument
    add("--hr", type=Path, required=True, help="folder of HR pictures")
    add("--lr", type=Path, help="folder of LR pictures (0001x4.png or 0001.png); without it they are made by imresize")
    add("--scale", type=int, help="HR over LR; default 4, with --lr what the first pair shows")
    add("--output", type=Path, required=True, help="the set to write, X.mindrecord")
    add(
        "--patch",
        "--patch_size",
        type=int,
        default=default["patch"],
        help="side of the HR patches, 0: whole pictures [%(default)s]",
    )
    add("--stride", type=int, help="a patch every N HR pixels (default: side by side); the last ends at the edge")
    add("--crops", type=int, help="instead: N patches per picture at random places (SRFlow's data: 47)")
    add("--seed", type=int, default=default["seed"], help="of the random places [%(default)s]")
    add(
        "--encoding",
        choices=ENCODINGS,
        default=default["encoding"],
        help="png: smaller; raw: faster [%(default)s]",
    )
    add("--shards", type=int, default=default["shards"], help="number of data files [%(default)s]")
    add("--on_error", choices=ON_ERROR, default=default["on_error"], help="at an unreadable picture [%(default)s]")


def _say(text: str) -> None:
    print(text)  # noqa: T201


if __name__ == "__main__":
    start_log()
    sys.exit(run_main(main))
