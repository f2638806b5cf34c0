"""Checks that the samples of a page are what the examples say, to the letter.

A code block behind a comment `<!-- path/of/an/example -->` has to stand in that file as it is. In
pages for users every block of Python or C has to be such a one: what readers copy is what is run.
What an example prints stands behind `<!-- output of path/of/an/example -->`; the tests run it
(tests/source/test_samples.py).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import house

_SAMPLE = re.compile(r"^<!-- (\S+) -->\n```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_OUTPUT = re.compile(r"^<!-- output of (\S+) -->\n```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"^[ ]*```(python|c)\b", re.MULTILINE)

# Pages that show what is no part of an interface: of the inside, and of experiments.
_INSIDE = Path("docs/design")


def outputs(root: Path) -> Iterator[tuple[Path, str, str]]:
    """Page, example and output of all that pages say an example prints."""
    for page in house.files(root, ".md"):
        for m in _OUTPUT.finditer((root / page).read_text(encoding="utf-8")):
            yield page, m[1], m[2]


def problems(root: Path, page: Path) -> Iterator[str]:
    """What is wrong with the samples of one page."""
    text = (root / page).read_text(encoding="utf-8")
    for sample in _SAMPLE.finditer(text):
        line = house.line_of(text, sample.start())
        source = root / sample[1]
        if not source.is_file():
            yield f"{page}:{line}: there is no {sample[1]}"
        elif sample[2] not in source.read_text(encoding="utf-8"):
            yield f"{page}:{line}: this does not stand in {sample[1]}"
    if page.parts[0] != "docs" or _INSIDE in page.parents:
        return
    named = {house.line_of(text, m.start()) + 1 for m in _SAMPLE.finditer(text)}
    for block in _CODE.finditer(text):
        line = house.line_of(text, block.start(1))
        if line not in named:
            yield f"{page}:{line}: this {block[1]} block names no example that it stands in"


def main() -> int:
    """Goes through all pages; 1 if a sample is not what its example says."""
    root = house.parser(__doc__).parse_args().root
    pages = house.files(root, ".md")
    found = [problem for page in pages for problem in problems(root, page)]
    for problem in found:
        print(f"check_samples: {problem}")
    if not found:
        print(f"check_samples: {len(pages)} pages are in order")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
