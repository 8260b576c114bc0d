"""Write OPTIONS.md and OPTIONS_CN.md of the model folders named (default: all) from their programs' configurations.

python ci/options_table.py WDSR

ci/options_cn.json has the Chinese of every help text.
"""

import dataclasses
import importlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
MODELS = [path.parent.name for path in sorted(ROOT.glob("[!.]*/train.py"))]
PROGRAMS = ("train", "eval", "infer", "export", "train2test")
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from common.config import groups, says_default  # noqa: E402


class Words(NamedTuple):
    """The words of a page in its language; `of`: the translations of help texts, none for English."""

    title: str
    head: str
    columns: str
    also: str
    one_of: str
    of: Mapping[str, str] = {}


LANGUAGES = {
    "OPTIONS.md": Words(
        "Options of {}",
        "Written by `python ci/options_table.py`. Each option is also a key of `--config FILE.yaml`.",
        "| option | default | meaning |",
        "; also ",
        "; one of ",
    ),
    "OPTIONS_CN.md": Words(
        "{} 的选项",
        "由 `python ci/options_table.py` 生成。每个选项也可作为 `--config FILE.yaml` 的键。",
        "| 选项 | 默认值 | 含义 |",
        "；也可写作 ",
        "；可选 ",
        json.loads((ROOT / "ci" / "options_cn.json").read_text(encoding="utf-8")),
    ),
}


def programs(model: str) -> Iterator[tuple[str, type]]:
    """Yield (program as it is typed, its configuration class): ("infer.py encode", EncodeConfig)."""
    for name in PROGRAMS:
        if not (ROOT / model / f"{name}.py").is_file():
            continue
        program = vars(importlib.import_module(f"{model}.{name}"))
        commands = {cls: command for command, cls in program.get("COMMANDS", {}).items()}
        classes = [one for key, one in program.items() if key.endswith("Config") and dataclasses.is_dataclass(one)]
        for cls in sorted(classes, key=lambda one: list(commands).index(one) if one in commands else -1):
            yield f"{name}.py {commands.get(cls, '')}".strip(), cls


def table(cls: type, words: Words) -> str:
    """Markdown: option, default, meaning, in the order of --help; a KeyError names a text without a translation."""
    rows = [words.columns, "|---|---|---|"]
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for field in [fields[name] for names in groups(cls).values() for name in names]:
        text = field.metadata["help"]
        default = "" if field.default in ("", None) or says_default(text) else field.default
        if isinstance(default, tuple):
            default = ", ".join(map(str, default))
        default = str(default).lower() if isinstance(default, bool) else default
        shown = f"`{default}`" if default not in ("", ()) else ""
        short = [f"`-{field.metadata['short']}`"] if field.metadata["short"] else []
        others = ", ".join([*(f"`--{name}`" for name in field.metadata["aliases"]), *short])
        placeholder = field.default if says_default(text) else None
        choices = [str(one) for one in field.metadata["choices"] or () if one != placeholder]
        listed = all(one in text for one in choices)
        text = words.of[text] if words.of else text
        if not listed:
            text += words.one_of + ", ".join(f"`{one}`" for one in choices)
        meaning = text.replace("|", r"\|") + (f"{words.also}{others}" if others else "")
        rows.append(f"| `--{field.name}` | {shown} | {meaning} |")
    return "\n".join(rows) + "\n"


def page(model: str, name: str = "OPTIONS.md") -> str:
    words = LANGUAGES[name]
    tables = "".join(f"\n## {program}\n\n{table(cls, words)}" for program, cls in programs(model))
    return f"# {words.title.format(model)}\n\n{words.head}\n{tables}"


if __name__ == "__main__":
    for folder in sys.argv[1:] or MODELS:
        for name in LANGUAGES:
            (ROOT / folder / name).write_text(page(folder, name), encoding="utf-8")
