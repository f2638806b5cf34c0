"""Checks that the samples of a page are what the examples say, to the letter.

A code block behind a comment `<!-- path/of/an/example -->` has to stand in that file as it is.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import house

_SAMPLE = re.compile(r"^<!-- (\S+) -->\n```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def problems(root: Path, page: Path) -> Iterator[str]:
    """What is wrong with the samples of one page."""
    text = (root / page).read_text(encoding="utf-8")
    for sample in _SAMPLE.finditer(text):
        line = text.count("\n", 0, sample.start()) + 1
        source = root / sample[1]
        if not source.is_file():
            yield f"{page}:{line}: there is no {sample[1]}"
        elif sample[2] not in source.read_text(encoding="utf-8"):
            yield f"{page}:{line}: this does not stand in {sample[1]}"


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
