"""Write OPTIONS.md of the model folders named (default: all) from the configuration classes of their programs.

python ci/options_table.py WDSR
"""

import dataclasses
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODELS = [path.parent.name for path in sorted(ROOT.glob("[!.]*/train.py"))]
PROGRAMS = ("train", "eval", "infer", "export", "train2test")
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from common.config import groups, says_default  # noqa: E402


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


def table(cls: type) -> str:
    """Markdown: option, default, meaning, in the order of --help."""
    rows = ["| option | default | meaning |", "|---|---|---|"]
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
        if not all(one in text for one in choices):
            text += "; one of " + ", ".join(f"`{one}`" for one in choices)
        meaning = text.replace("|", r"\|") + (f"; also {others}" if others else "")
        rows.append(f"| `--{field.name}` | {shown} | {meaning} |")
    return "\n".join(rows) + "\n"


def page(model: str) -> str:
    """Return the text of a model's OPTIONS.md."""
    head = "Written by `python ci/options_table.py`. Each option is also a key of `--config FILE.yaml`."
    tables = "".join(f"\n## {name}\n\n{table(cls)}" for name, cls in programs(model))
    return f"# Options of {model}\n\n{head}\n{tables}"


if __name__ == "__main__":
    for folder in sys.argv[1:] or MODELS:
        (ROOT / folder / "OPTIONS.md").write_text(page(folder), encoding="utf-8")
