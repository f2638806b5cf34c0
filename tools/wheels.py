"""Builds the source archive and the wheels (manylinux, musllinux; x86-64, aarch64) into dist/.

    tools/wheels.py                         everything, for each CPython 3.10 to 3.14 found here
    tools/wheels.py --python 3.12 --target manylinux-x86_64

How: the source archive is made first, and the wheels are built from what it holds, so a file that
is missing there is noticed here. The compiler is Zig's (`zig cc`, from the Python package
registry): clang with the headers of every glibc and musl, so the oldest glibc wanted is a matter of
the target's name, and no container is needed. An interpreter builds for another machine when it
is told other names of machine and files: `_PYTHON_SYSCONFIGDATA_NAME`, the way in which CPython
cross-compiles itself; its headers serve all targets, since their pyconfig.h differ in nothing that
we use (docs/design/packages.md).

A wheel has its tag from the start (`_PYTHON_HOST_PLATFORM`). auditwheel then tells the oldest
system that has the symbols it needs; where that is another than the tag says, the wheel is refused.
So is one that needs more than parts of libc, or has anything of SQLite in it. At the end there is a
table of what each needs; an interpreter that is not here is named, and its wheels are left out.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import check_exports

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "wheels"
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
TOOLS = ("ziglang==0.17.1", "auditwheel==6.8.2")

# auditwheel looks for libraries in this system's folders, where those of the target are not, so it
# does not see that they belong to the system: these do, by each of its rules (PEP 599, PEP 656).
SYSTEM = {
    "gnu": {"libc.so.6", "libdl.so.2", "libm.so.6", "libpthread.so.0", "librt.so.1"},
    "musl": {"libc.so"},
}


@dataclasses.dataclass(frozen=True)
class Target:
    """A kind of system: what Zig, CPython and the wheel's name call it."""

    arch: str
    libc: str  # "gnu" or "musl"
    zig: str
    tag: str

    @property
    def name(self) -> str:
        return f"{'manylinux' if self.libc == 'gnu' else 'musllinux'}-{self.arch}"

    def triplet(self, version: str) -> str:
        """The part of a module's file name. CPython tells musl apart since 3.11."""
        return f"{self.arch}-linux-{'gnu' if version == '3.10' else self.libc}"


TARGETS = tuple(
    Target(arch, libc, f"{arch}-linux-{libc}{glibc}", f"{tag}_{arch}")
    for libc, glibc, tag in (("gnu", ".2.17", "manylinux_2_17"), ("musl", "", "musllinux_1_2"))
    for arch in ("x86_64", "aarch64")
)


def run(*command: str | Path, **options: object) -> str:
    """What a command prints; its whole output is shown when it fails."""
    done = subprocess.run(  # type: ignore[call-overload]
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        **options,
    )
    if done.returncode != 0:
        sys.exit(f"{done.stdout}\nwheels: {' '.join(map(str, command))} failed")
    return str(done.stdout)


def interpreters(wanted: list[str]) -> Iterator[tuple[str, str]]:
    """Version and path of each CPython that is here: on PATH, or one of pyenv's."""
    for version in wanted:
        candidates = [shutil.which(f"python{version}") or sys.executable]
        pyenv = Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}")
        candidates += sorted(str(path) for path in pyenv)
        for path in candidates:
            code = (
                "import sys, sysconfig, os; v = sys.version_info\n"
                "assert sys.implementation.name == 'cpython'\n"
                "assert os.path.exists(sysconfig.get_path('include') + '/Python.h')\n"
                "assert not sysconfig.get_config_var('Py_GIL_DISABLED')\n"
                "print(f'{v[0]}.{v[1]}', sys.executable)"
            )
            asked = subprocess.run([path, "-c", code], capture_output=True, text=True, check=False)
            if asked.returncode == 0 and asked.stdout.split()[0] == version:
                yield version, asked.stdout.split()[1]
                break
        else:
            print(f"wheels: no CPython {version} with headers here: its wheels are left out")


def environment(python: str, name: str, packages: tuple[str, ...]) -> Path:
    """The interpreter of a venv with these packages; made once."""
    folder = WORK / "venv" / name
    stamp = folder / "packages.json"
    told = json.dumps([python, packages])
    if not stamp.exists() or stamp.read_text() != told:
        shutil.rmtree(folder, ignore_errors=True)
        run(python, "-m", "venv", folder)
        run(folder / "bin/python", "-m", "pip", "install", "--quiet", *packages)
        stamp.write_text(told)
    return folder / "bin/python"


def build_requirements() -> tuple[str, ...]:
    """What pyproject.toml asks of a build, and the program that asks for one."""
    text = (ROOT / "pyproject.toml").read_text()
    found = re.search(r"^requires = \[(.*)\]$", text, re.MULTILINE)
    assert found is not None
    return (*re.findall(r'"([^"]+)"', found[1]), "build")


def source_archive(python: Path, dist: Path) -> Path:
    """The sdist in dist/, unpacked."""
    run(python, "-m", "build", "--sdist", "--no-isolation", "-o", dist, ROOT, env=path_of(python))
    archive = max(dist.glob("looplite-*.tar.gz"), key=lambda path: path.stat().st_mtime)
    folder = WORK / "source"
    shutil.rmtree(folder, ignore_errors=True)
    with tarfile.open(archive) as tar:
        tar.extractall(folder)  # noqa: S202 - ours
    return folder / archive.name.removesuffix(".tar.gz")


def path_of(python: Path) -> dict[str, str]:
    """This environment with a venv's programs first."""
    return os.environ | {"PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}


def cross_file(target: Target, zig: Path) -> Path:
    """Meson's description of the target."""
    path = WORK / f"{target.name}.ini"
    path.write_text(
        f"""[binaries]
c = ['{zig}', 'cc', '-target', '{target.zig}']
ar = ['{zig}', 'ar']
[built-in options]
c_link_args = ['-Wl,-s']
[host_machine]
system = 'linux'
cpu_family = '{target.arch}'
cpu = '{target.arch}'
endian = 'little'
[properties]
needs_exe_wrapper = true
"""
    )
    return path


def sysconfig_data(python: Path, version: str, target: Target) -> tuple[Path, str]:
    """A module with the build variables that Python has on the target: its folder and name."""
    name = f"_sysconfigdata__linux_{target.triplet(version)}".replace("-", "_")
    folder = WORK / "sysconfig" / f"{version}-{target.name}"
    folder.mkdir(parents=True, exist_ok=True)
    variables = json.loads(
        run(
            python,
            "-c",
            "import importlib, json, sysconfig; print(json.dumps(importlib.import_module("
            "sysconfig._get_sysconfigdata_name()).build_time_vars))",
        )
    )
    soabi = f"cpython-{version.replace('.', '')}-{target.triplet(version)}"
    variables |= {
        "SOABI": soabi,
        "EXT_SUFFIX": f".{soabi}.so",
        "MULTIARCH": target.triplet(version),
    }
    (folder / f"{name}.py").write_text(f"build_time_vars = {variables!r}\n")
    return folder, name


def build(source: Path, python: Path, version: str, target: Target, zig: Path) -> Path:
    """One wheel, as the build backend names it."""
    out = WORK / "out" / f"{version}-{target.name}"
    shutil.rmtree(out, ignore_errors=True)
    folder, name = sysconfig_data(python, version, target)
    run(
        *(python, "-m", "build", "--wheel", "--no-isolation", "-x", "-o", out),
        f"-Csetup-args=--cross-file={cross_file(target, zig)}",
        f"-Ccompile-args=-j{os.environ.get('JOBS', '2')}",
        source,
        env=path_of(python)
        | {
            "_PYTHON_HOST_PLATFORM": target.tag,
            "_PYTHON_SYSCONFIGDATA_NAME": name,
            "PYTHONPATH": str(folder),
            "ZIG_GLOBAL_CACHE_DIR": str(WORK / "zig-cache"),
            "ZIG_LOCAL_CACHE_DIR": str(WORK / "zig-cache"),
        },
    )
    (wheel,) = out.glob("*.whl")
    return wheel


def problems_of(wheel: Path) -> Iterator[str]:
    """What must not be in a wheel of ours."""
    folder = WORK / "look"
    shutil.rmtree(folder, ignore_errors=True)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)  # noqa: S202 - ours
    modules = [path for path in folder.rglob("*") if ".so" in path.suffixes]
    if [path.parent.name for path in modules] != ["looplite"]:
        yield f"shared objects: {', '.join(str(path.relative_to(folder)) for path in modules)}"
    for path in modules:
        yield from check_exports.extension_problems(path)
        # A constant of the code that opens databases; no compiler or stripping hides it.
        if b"unable to open a temporary database file" in path.read_bytes():
            yield f"{path.name} has SQLite in it"


def shown(wheel: Path, tools: Path) -> dict[str, Any]:
    """What auditwheel says of a wheel."""
    empty = WORK / "no-libraries"  # this system's are not the target's
    empty.mkdir(exist_ok=True)
    audit = tools.parent / "auditwheel"
    told = run(audit, "show", "--json", "--ldpaths", empty, wheel, env=path_of(tools))
    answer: dict[str, Any] = json.JSONDecoder().raw_decode(told, told.index("{"))[0]
    return answer


def needs(audit: dict[str, Any]) -> str:
    """The tag that auditwheel gives a wheel, and why."""

    def number(symbol: str) -> list[int]:
        return [int(part) for part in re.findall(r"\d+", symbol)]

    symbols = audit["versioned_symbols"]
    libraries = sorted({*audit["external_libs"], *symbols})
    told = [
        f"{name} ({max(symbols[name], key=number)})" if symbols.get(name) else name
        for name in libraries
    ]
    return ", ".join([str(audit["sym_tag"]), *told])


def finish(wheel: Path, target: Target, tools: Path, dist: Path) -> tuple[Path, str]:
    """Puts a wheel into dist/ if it is what its name says: where it is, and what it needs."""
    audit = shown(wheel, tools)
    problems = list(problems_of(wheel))
    if audit["sym_tag"] != target.tag:
        problems.append(f"auditwheel says {needs(audit)}")
    external = {name for name in audit["external_libs"] if not name.startswith("ld-linux-")}
    problems += [f"needs {name}" for name in sorted(external - SYSTEM[target.libc])]
    if not wheel.stem.endswith(f"-{target.tag}"):
        problems.append(f"has not the tag {target.tag}")
    if problems:
        sys.exit("\n".join(f"wheels: {wheel.name}: {problem}" for problem in problems))
    return Path(shutil.copy(wheel, dist)), needs(audit)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--python", action="append", choices=PYTHONS, help="default: all found")
    names = [target.name for target in TARGETS]
    parser.add_argument("--target", action="append", choices=names, help="default: all")
    parser.add_argument("--dist", type=Path, default=ROOT / "dist", help="where to (default: dist)")
    args = parser.parse_args()
    dist = args.dist.resolve()
    WORK.mkdir(parents=True, exist_ok=True)
    found = dict(interpreters(args.python or list(PYTHONS)))
    if not found:
        sys.exit("wheels: no interpreter to build for")
    tools = environment(sys.executable, "tools", TOOLS)
    zig = Path(run(tools, "-c", "import ziglang; print(ziglang.__path__[0])").strip()) / "zig"
    source = None
    table = []
    for version, interpreter in found.items():
        python = environment(interpreter, version, build_requirements())
        source = source or source_archive(python, dist)
        for target in TARGETS:
            if args.target and target.name not in args.target:
                continue
            print(f"wheels: {version} {target.name}", flush=True)
            built = build(source, python, version, target, zig)
            table.append(finish(built, target, tools, dist))
    print()
    for wheel, needed in table:
        print(f"{wheel.name}  {wheel.stat().st_size // 1024} KiB\n    {needed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
