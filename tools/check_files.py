"""Checks that every file says first what it is for, is not too long, and names no machine.

- .c, .h, .py, .pyi and .sh files open with a comment or docstring that states their purpose;
- above 600 lines a C or Python file is mentioned, above 900 it fails: look for its second idea;
- no text file names a host of a package registry or a path of somebody's machine.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import house

WARN_LINES = 600
FAIL_LINES = 900
# Shorter than this says nothing.
MIN_PURPOSE = 20

# Written so that this file does not find itself.
_HOSTS = [
    "pypi" + r"\.org",
    "python" + r"hosted\.org",
    "npmjs" + r"\.(?:org|com)",
    "crates" + r"\.io",
    "anaconda" + r"\.org",
]
FORBIDDEN = {
    "the host of a package registry": re.compile("|".join(_HOSTS), re.IGNORECASE),
    "a path of one machine": re.compile(r"(?<![\w.~})\]-])/(?:root|work|home)/"),
}


def c_purpose(text: str) -> str:
    """The comment that a C file opens with."""
    match = re.match(r"\s*(/\*.*?\*/|(?://[^\n]*\n?)+)", text, re.DOTALL)
    return match[1] if match else ""


def hash_purpose(text: str) -> str:
    """The comment that a script opens with, after its first line."""
    match = re.match(r"(?:#![^\n]*\n)?((?:#[^\n]*\n)+)", text)
    return match[1] if match else ""


def python_purpose(text: str) -> str:
    """The docstring of a Python file, or the comment it opens with."""
    return ast.get_docstring(ast.parse(text)) or hash_purpose(text)


PURPOSE = {
    ".c": c_purpose,
    ".h": c_purpose,
    ".py": python_purpose,
    ".pyi": python_purpose,
    ".sh": hash_purpose,
}


def problems_of(path: Path, text: str) -> Iterator[str]:
    """What is wrong with one file."""
    if path.suffix in PURPOSE:
        words = re.sub(r"[\s/*#]+", " ", PURPOSE[path.suffix](text)).strip()
        if len(words) < MIN_PURPOSE:
            yield f"{path}: does not open with a comment or docstring that states its purpose"
    lines = text.count("\n")
    if path.suffix in (".c", ".h", ".py") and lines > FAIL_LINES:
        yield f"{path}: {lines} lines, more than {FAIL_LINES}"
    for what, pattern in FORBIDDEN.items():
        for match in pattern.finditer(text):
            yield f"{path}:{house.line_of(text, match.start())}: names {what}: {match[0]}"


def main() -> int:
    root = house.parser(__doc__).parse_args().root.resolve()
    problems: list[str] = []
    paths = house.files(root)
    for path in paths:
        try:
            text = (root / path).read_text()
        except UnicodeDecodeError:
            continue  # data
        problems += problems_of(path, text)
        lines = text.count("\n")
        if path.suffix in (".c", ".h", ".py") and WARN_LINES < lines <= FAIL_LINES:
            print(f"check_files: note: {path} has {lines} lines", file=sys.stderr)
    return house.finish("check_files", problems, f"{len(paths)} files are in order")


if __name__ == "__main__":
    sys.exit(main())
