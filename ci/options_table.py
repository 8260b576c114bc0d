"""Write the tables of options into the READMEs, between `<!-- options: CLASS -->` and `<!-- end of options -->`.

python ci/options_table.py WDSR/README.md            # --check only says whether the table is up to date
"""

import dataclasses
import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from common.config import groups, says_default  # noqa: E402

PLACES = ("src/args.py", "src/options/options.py", "src/model_utils/options.py", "src/config.py")  # as each seed has it
MARKED = re.compile(r"(<!-- options: (\w+) -->\n)(.*?)(<!-- end of options -->)", re.DOTALL)


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
        meaning = text.replace("|", " / ") + (f"; also {others}" if others else "")
        rows.append(f"| `--{field.name}` | {shown} | {meaning} |")
    return "\n".join(rows) + "\n"


def options_of(folder: Path) -> ModuleType:
    """The module of a model's folder that holds the configuration classes of its programs."""
    place = next(place for place in PLACES if (folder / place).is_file())
    return importlib.import_module(".".join([folder.name, *Path(place).with_suffix("").parts]))


def updated(readme: Path) -> str:
    """The text of the README with its tables made anew."""
    arguments = options_of(readme.resolve().parent)
    return MARKED.sub(
        lambda match: match[1] + table(getattr(arguments, match[2])) + match[4], readme.read_text(encoding="utf-8")
    )


def main(arguments: list[str]) -> int:
    """Update, or with --check compare; 1 when a table was out of date."""
    stale = [name for name in arguments if name != "--check" and updated(Path(name)) != Path(name).read_text("utf-8")]
    if "--check" not in arguments:
        for name in stale:
            Path(name).write_text(updated(Path(name)), encoding="utf-8")
        return 0
    for name in stale:
        print(f"{name}: the table of options is out of date: python ci/options_table.py {name}")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
