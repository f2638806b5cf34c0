"""Checks the public headers: each declaration has its comment block, each header compiles alone.

Every LL_API declaration has a block directly above it that says, beside what the function does:
`Thread:` who may call it, `Owns:` who frees what and how long pointers live, `Errors:` what it
gives, `Since:` the release. Every header compiles as all that a file includes, as C and as C++.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import headers
import house


def comment_problems(root: Path) -> Iterator[str]:
    """Declarations whose block is missing or lacks a word."""
    for d in headers.declarations(root):
        where = f"{d.header}:{d.line}: {d.name}"
        if not d.comment:
            yield f"{where} has no comment block directly above it"
        elif missing := [word for word in headers.WORDS if word not in d.comment]:
            yield f"{where}: its comment lacks {', '.join(missing)}"


def compile_problems(root: Path) -> Iterator[str]:
    """Headers that do not compile when they are all that a file includes."""
    c = os.environ.get("CC", "cc").split()
    cxx = os.environ.get("CXX", "").split() or next(
        ([name] for name in ("c++", "g++", "clang++") if shutil.which(name)), []
    )
    if not cxx:
        yield "no C++ compiler was found (c++, g++, clang++ or $CXX)"
    languages = [(c, "c", "-std=c11"), *([(cxx, "c++", "-std=c++11")] if cxx else [])]
    for header in headers.paths(root):
        name = header.relative_to("include").as_posix()
        for compiler, language, standard in languages:
            done = subprocess.run(
                [
                    *compiler,
                    *("-x", language, standard, "-fsyntax-only"),
                    *("-Wall", "-Wextra", "-Wundef", "-pedantic", "-Werror"),
                    *("-I", str(root / "include"), "-isystem", str(root / "third_party/sqlite")),
                    "-",
                ],
                input=f"#include <{name}>\n#include <{name}>\n",
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                yield f"{header} does not compile alone as {language}:\n{done.stderr.rstrip()}"


def main() -> int:
    root = house.parser(__doc__).parse_args().root.resolve()
    problems = [*comment_problems(root), *compile_problems(root)]
    count = sum(1 for _ in headers.declarations(root))
    return house.finish("check_headers", problems, f"{count} declarations are in order")


if __name__ == "__main__":
    sys.exit(main())
