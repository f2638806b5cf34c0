"""The quick start prints what it should; tools/check_samples.py compares page and program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
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


def test_program_prints_what_it_should() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(PROGRAM)], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == (OUTPUT, "", 0)
