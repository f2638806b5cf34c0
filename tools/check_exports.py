"""Checks that symbol map, LL_API declarations and built library name the same functions.

And that the Python extension, if it is installed where this runs, is not linked with SQLite, does
not call into it other than through the table filled at run time, and exports its init function
only.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import headers
import house

MAP = "src/looplite.map"
LIBRARY = "build/plain/src/liblooplite.so"


def mapped(text: str) -> set[str]:
    """The names that a symbol map makes global."""
    names: set[str] = set()
    for body in re.findall(r"\{(.*?)\}", house.without_comments(text), re.DOTALL):
        scope = "global:"
        for word in re.findall(r"[a-z]+:|[^\s;]+", body):
            if word in ("global:", "local:"):
                scope = word
            elif scope == "global:":
                names.add(word)
    return names


def nm(library: Path, *options: str) -> set[str]:
    """Symbols of a shared object without their versions; version nodes are left out."""
    out = subprocess.run(
        ["nm", "-D", "--format=posix", *options, str(library)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    rows = (line.split() for line in out.splitlines())
    return {row[0].partition("@")[0] for row in rows if row[1] != "A"}


def differences(left: str, a: set[str], right: str, b: set[str]) -> Iterator[str]:
    """What one has and the other has not."""
    yield from (f"{name} is in {left}, not in {right}" for name in sorted(a - b))
    yield from (f"{name} is in {right}, not in {left}" for name in sorted(b - a))


def installed_extension() -> Path | None:
    """The file of looplite._core, if this Python has it."""
    if importlib.util.find_spec("looplite") is None:
        return None
    spec = importlib.util.find_spec("looplite._core")
    return Path(spec.origin) if spec and spec.origin else None


# The second is called by SQLite, when the extension is loaded into it to reach a hidden copy.
EXTENSION_EXPORTS = {"PyInit__core", "sqlite3_extension_init"}


def extension_problems(extension: Path) -> Iterator[str]:
    """What is wrong with the built looplite._core."""
    needed = subprocess.run(
        ["readelf", "--dynamic", "--wide", str(extension)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    if re.search(r"NEEDED.*sqlite", needed):
        yield f"{extension.name} is linked with SQLite"
    if "NODELETE" not in needed:
        yield f"{extension.name} is not linked with -z nodelete"
    for name in sorted(nm(extension, "--undefined-only")):
        if name.startswith("sqlite3"):
            yield f"{extension.name} calls {name} directly, not through the table"
    for name in sorted(nm(extension, "--defined-only") - EXTENSION_EXPORTS):
        yield f"{extension.name} exports {name}"


def main() -> int:
    parser = house.parser(__doc__)
    parser.add_argument(
        "--library", type=Path, help=f"the shared library (default: ROOT/{LIBRARY})"
    )
    parser.add_argument("--map-only", action="store_true", help="look at no built file")
    args = parser.parse_args()
    root = args.root.resolve()

    map_names = mapped((root / MAP).read_text())
    declared = {d.name for d in headers.declarations(root)}
    problems = list(differences("the map", map_names, "the headers", declared))
    if not args.map_only:
        library = args.library or root / LIBRARY
        if library.exists():
            exported = nm(library, "--defined-only")
            problems += differences("the map", map_names, library.name, exported)
        else:
            problems.append(f"{library} is not built (tools/build.sh plain)")
        if extension := installed_extension():
            problems += extension_problems(extension)
    return house.finish("check_exports", problems, f"{len(map_names)} names, the same everywhere")


if __name__ == "__main__":
    sys.exit(main())
