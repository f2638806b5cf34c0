"""Checks what `meson install` left: libraries and their names, headers, man pages, pkg-config file.

The shared library has the versioned names and the soname, exports what src/looplite.map lists and
needs SQLite; every header of include/ and adapters/ is there to the letter and nothing else is; the
pkg-config file gives what static linking needs, and keeps it from those that link the shared one.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import check_exports
import house


def output(*command: str) -> str:
    """What a command prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def library_problems(root: Path, libdir: Path) -> Iterator[str]:
    """What is wrong with the libraries."""
    base = (root / "include/looplite/base.h").read_text()
    version = re.search(r'#define LL_VERSION +"([^"]+)"', base)
    release = version[1] if version else "?"
    real = libdir / f"liblooplite.so.{release}"
    soname = "liblooplite.so.0"
    for link in ("liblooplite.so", soname):
        if (libdir / link).resolve() != real or not real.is_file():
            yield f"{libdir / link} is not {real.name}"
            return
    dynamic = output("readelf", "--dynamic", "--wide", str(real))
    if f"soname: [{soname}]" not in dynamic:
        yield f"{real.name} has not the soname {soname}"
    if not re.search(r"NEEDED.*\[libsqlite3\.so", dynamic):
        yield f"{real.name} is not linked with SQLite"
    if re.search(r"R(UN)?PATH", dynamic):
        yield f"{real.name} has a path of the build in it"
    wanted = check_exports.mapped((root / check_exports.MAP).read_text())
    exported = check_exports.nm(real, "--defined-only")
    yield from check_exports.differences("the map", wanted, real.name, exported)
    if not (libdir / "liblooplite.a").is_file():
        yield "there is no liblooplite.a"


def header_problems(root: Path, prefix: Path) -> Iterator[str]:
    """Headers that are missing, changed or too many."""
    wanted = {p.relative_to(root / "include"): p for p in (root / "include").rglob("*.h")}
    wanted |= {p.relative_to(root / "adapters"): p for p in (root / "adapters").glob("*.h")}
    there = {p.relative_to(prefix / "include"): p for p in (prefix / "include").rglob("*.h")}
    for name in sorted(wanted.keys() | there.keys()):
        if name not in there:
            yield f"include/{name} is not installed"
        elif name not in wanted:
            yield f"include/{name} is installed, and is none of ours"
        elif there[name].read_bytes() != wanted[name].read_bytes():
            yield f"include/{name} differs from ours"


def man_problems(root: Path, prefix: Path) -> Iterator[str]:
    """Man pages that are missing or empty."""
    listed = output(sys.executable, str(root / "tools/gen_man.py"), "--list").split()
    for name in listed:
        page = prefix / "share/man" / name
        if not page.is_file() or page.stat().st_size == 0:
            yield f"share/man/{name} is not installed"


def pkg_config_problems() -> Iterator[str]:
    """What looplite.pc says, as pkg-config understands it (PKG_CONFIG_PATH is set)."""
    shared = output("pkg-config", "--libs", "looplite").split()
    static = output("pkg-config", "--static", "--libs", "looplite").split()
    if "-llooplite" not in shared or "-lsqlite3" in shared:
        yield f"pkg-config --libs gives {shared}"
    if "-llooplite" not in static or "-lsqlite3" not in static:
        yield f"pkg-config --static --libs gives {static}"
    private = output("pkg-config", "--print-requires-private", "looplite")
    if not private.startswith("sqlite3 >= 3.34.1"):
        yield f"Requires.private is {private.strip()!r}"


def main() -> int:
    parser = house.parser(__doc__)
    parser.add_argument("prefix", type=Path)
    parser.add_argument("libdir", type=Path)
    args = parser.parse_args()
    root = args.root.resolve()
    problems = [
        *library_problems(root, args.libdir.resolve()),
        *header_problems(root, args.prefix),
        *man_problems(root, args.prefix),
        *pkg_config_problems(),
    ]
    return house.finish("check_installed", problems, "libraries, headers, man pages, looplite.pc")


if __name__ == "__main__":
    sys.exit(main())
