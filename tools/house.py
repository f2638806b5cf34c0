"""What the house-rule scripts share: the files, C comments and includes, telling of findings."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

# Not ours to format or to judge.
FOREIGN = ("third_party",)

_COMMENT_OR_STRING = re.compile(
    r"""
    (?P<comment> /\*.*?\*/ | //[^\n]* )
    | "(?:\\.|[^"\\\n])*"
    | '(?:\\.|[^'\\\n])*'
    """,
    re.DOTALL | re.VERBOSE,
)
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)


def parser(description: str | None) -> argparse.ArgumentParser:
    """An argument parser with the one option that every script has."""
    p = argparse.ArgumentParser(description=description)
    p.add_argument(
        "--root",
        type=Path,
        default=Path(__file__).resolve().parent.parent,
        help="the tree to look at (default: this one)",
    )
    return p


def files(root: Path, *suffixes: str) -> list[Path]:
    """Files of the tree with one of the suffixes (any, if none is given), relative to it, sorted.

    Tracked or about to be, as git sees it; in a tree without git, everything.
    """
    if (root / ".git").exists():
        out = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=root,
            check=True,
            capture_output=True,
        ).stdout
        names = [Path(name) for name in out.decode().split("\0") if name]
    else:
        names = [path.relative_to(root) for path in root.rglob("*")]
    return sorted(
        name
        for name in set(names)
        if (not suffixes or name.suffix in suffixes)
        and name.parts[0] not in FOREIGN
        and (root / name).is_file()
    )


def without_comments(text: str) -> str:
    """C text with comments blanked, so that offsets and line numbers stay true."""

    def blank(match: re.Match[str]) -> str:
        if match["comment"] is None:
            return match[0]
        return re.sub(r"[^\n]", " ", match[0])

    return _COMMENT_OR_STRING.sub(blank, text)


def includes(text: str) -> list[tuple[int, bool, str]]:
    """The #include lines of a C text: line number, whether in quotes, name."""
    text = without_comments(text)
    return [(line_of(text, m.start(1)), m[1] == '"', m[2]) for m in _INCLUDE.finditer(text)]


def line_of(text: str, offset: int) -> int:
    """The line number of an offset."""
    return text.count("\n", 0, offset) + 1


def finish(name: str, problems: list[str], what: str) -> int:
    """Prints the findings, or what was found in order; the exit status."""
    for problem in problems:
        print(f"{name}: {problem}", file=sys.stderr)
    if problems:
        return 1
    print(f"{name}: {what}")
    return 0
