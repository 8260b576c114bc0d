"""Run the code of a README: each ```bash or ```python block that follows the line `<!-- run -->`.

    python ci/readme_commands.py WDSR/README.md

Blocks run in order, in the folder where this is started, and stop at the first that fails. A block marked
`<!-- run: exit 2 -->` must end with that code. The tests run the blocks, too, but not those marked
`<!-- run: smoke -->`, which take longer: a second compilation of a training step, or several workers.
"""

import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

BLOCK = re.compile(r"<!-- run(?:: (smoke)|: exit (\d+))? -->\s*\n```(bash|shell|sh|python)\n(.*?)```", re.DOTALL)


class Block(NamedTuple):
    """Commands or Python lines, their exit code, and whether the tests leave them to `ci/smoke.sh`."""

    commands: str
    code: int
    takes_long: bool
    language: str

    @property
    def words(self) -> list[str]:
        """The command to start; bash stops at the first failing command."""
        python = self.language == "python"
        return ["python", "-c", self.commands] if python else ["bash", "-e", "-o", "pipefail", "-c", self.commands]


def blocks_of(readme: Path) -> list[Block]:
    text = readme.read_text(encoding="utf-8")
    return [
        Block(commands.strip(), int(code or 0), bool(smoke), language)
        for smoke, code, language, commands in BLOCK.findall(text)
    ]


def main(arguments: list[str]) -> int:
    for name in arguments:
        blocks = blocks_of(Path(name))
        if not blocks:
            sys.exit(f"error: {name} has no block marked <!-- run -->")
        for number, block in enumerate(blocks, 1):
            print(f"--- {name}, block {number} of {len(blocks)}\n{block.commands}", flush=True)
            started = time.perf_counter()
            code = subprocess.run(block.words, check=False).returncode
            print(f"--- ended with {code} after {time.perf_counter() - started:.0f} s", flush=True)
            if code != block.code:
                print(f"error: {name}, block {number}: exit code {code}, not {block.code}", file=sys.stderr)
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
