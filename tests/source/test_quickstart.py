"""The quick start shows code that runs: its blocks are those of examples/python/quickstart.py."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "guide" / "quickstart.md"
PROGRAM = ROOT / "examples" / "python" / "quickstart.py"

OUTPUT = """\
row 1
('Emma',)
[('Emma', 1815), ('Persuasion', 1817)]
[('Silas Marner', 1861), ('Romola', 1863), ('Middlemarch', 1871)]
Middlemarch 1871
nothing changed: UNIQUE constraint failed: book.title
43 letters
['Middlemarch', 'Emma', 'Persuasion']
"""


def test_blocks_are_in_the_program() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    functions = [block for block in blocks if block.startswith("async def ")]
    program = PROGRAM.read_text()
    assert len(functions) == 6
    for block in functions:
        assert f"\n\n\n{block}\n\n" in program, block


def test_program_prints_what_it_should() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(PROGRAM)], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == (OUTPUT, "", 0)
