"""Checks that each folder includes what lies below it only.

src/: base < platform < db < engine < service. include/ is seen by all and sees itself only.
adapters/, examples/ and bench/ see include/ (examples and bench also adapters/); python/_core/ sees
include/ and itself. C tests may see everything. sqlite3.h is for src/db, python/_core, tests and
the optional public header include/looplite/sqlite.h; src/engine reaches SQLite through the headers
of src/db.
"""

from __future__ import annotations

import sys
from pathlib import Path, PurePosixPath

import house

LAYERS = ("base", "platform", "db", "engine", "service")

# Which areas each area may include. What is not named here (tests, fuzz) may include everything.
MAY_SEE: dict[str, set[str]] = {
    "include": {"include"},
    "adapters": {"include", "adapters"},
    "python/_core": {"include", "python/_core"},
    "examples": {"include", "adapters", "examples"},
    "bench": {"include", "adapters", "bench"},
} | {
    f"src/{layer}": {"include", *(f"src/{lower}" for lower in LAYERS[: n + 1])}
    for n, layer in enumerate(LAYERS)
}

# Where an include is looked for, after the folder of the file itself.
SEARCH = ("include", "src", "adapters", "python/_core", "tests/c")

SQLITE_HEADERS = {"sqlite3.h", "sqlite3ext.h"}
SQLITE_AREAS = {"src/db", "python/_core"}
SQLITE_PUBLIC = "include/looplite/sqlite.h"


def area(path: PurePosixPath) -> str:
    """The area a file belongs to: src/<layer>, python/_core, or the first folder."""
    parts = path.parts
    return "/".join(parts[:2]) if parts[0] in ("src", "python") else parts[0]


def resolve(root: Path, including: PurePosixPath, name: str, quoted: bool) -> PurePosixPath | None:
    """The file of ours that an include means; None if it is none of ours."""
    folders = [*([including.parent.as_posix()] if quoted else []), *SEARCH]
    for folder in folders:
        found = (root / folder / name).resolve()
        if found.is_file() and found.is_relative_to(root):
            return PurePosixPath(found.relative_to(root).as_posix())
    return None


def check(root: Path) -> tuple[list[str], int]:
    """The problems, and how many files were looked at."""
    problems = []
    looked_at = house.files(root, ".c", ".h")
    for path in map(PurePosixPath, (p.as_posix() for p in looked_at)):
        own = area(path)
        allowed = MAY_SEE.get(own)
        if own.startswith("src/") and allowed is None:
            problems.append(f"{path}: {own} is no layer; the layers are {', '.join(LAYERS)}")
            continue
        for line, quoted, name in house.includes((root / path).read_text()):
            where = f"{path}:{line}"
            if name in SQLITE_HEADERS:
                if allowed is not None and own not in SQLITE_AREAS and str(path) != SQLITE_PUBLIC:
                    problems.append(f"{where}: {own} must not include {name}")
                continue
            target = resolve(root, path, name, quoted)
            if target is None:
                if quoted:
                    problems.append(f'{where}: no file of ours is called "{name}"')
            elif allowed is not None and area(target) not in allowed:
                problems.append(f"{where}: {own} must not include {area(target)} ({target})")
    return problems, len(looked_at)


def main() -> int:
    args = house.parser(__doc__).parse_args()
    problems, count = check(args.root.resolve())
    return house.finish("check_layers", problems, f"{count} files include downwards only")


if __name__ == "__main__":
    sys.exit(main())
