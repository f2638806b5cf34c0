"""Puts together what a project's tests run with: a virtual environment of pinned packages, its
sources, and the way to looplite. All of it lies in build/dependents/ and is made once; a change of
the requirements, of the version or of the interpreter makes it anew.

looplite itself is not installed there: a folder with links to what stands in .venv comes first on
the path, so that each run has the build of this moment. `aiosqlite` is always the real one, and
the plugin dependents_record puts looplite in its place or does not.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

from dependents.suites import Project

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BUILD = ROOT / "build" / "dependents"


class NotHereError(Exception):
    """This suite cannot run on this machine; the text says why."""


def _pip(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode:
        raise NotHereError(f"pip: {done.stderr.strip()[-500:]}")


def _is_current(stamp: Path, text: str) -> bool:
    return stamp.is_file() and stamp.read_text() == text


def environment(project: Project) -> Path:
    """The interpreter of the project's virtual environment."""
    folder = BUILD / project.name / "venv"
    python = folder / "bin" / "python"
    wanted = (HERE / "requirements" / f"{project.name}.txt").read_text()
    mark = f"{sys.version}\n{os.path.realpath(sys.executable)}\n{wanted}"
    stamp = BUILD / project.name / "venv.stamp"
    if not _is_current(stamp, mark):
        print(f"   installing the packages of {project.name}", flush=True)
        for package in project.system:
            subprocess.run([ROOT / "tools" / "need-apt.sh", package], check=False)
        shutil.rmtree(folder, ignore_errors=True)
        base = os.path.realpath(sys.executable)
        subprocess.run([base, "-m", "venv", "--without-pip", folder], check=True)
        _pip("--python", python, "install", "-r", HERE / "requirements" / f"{project.name}.txt")
        stamp.write_text(mark)
    return python


def sources(project: Project) -> Path:
    """The folder that the project's tests are run in."""
    folder = BUILD / project.name / "source"
    stamp = BUILD / project.name / "source.stamp"
    if not _is_current(stamp, project.tests):
        print(f"   fetching {project.tests}", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        fetched = BUILD / project.name / "fetched"
        shutil.rmtree(fetched, ignore_errors=True)
        name = project.tests.partition("==")[0]
        kind = ("--only-binary", name) if project.wheel else ("--no-binary", name)
        _pip("download", "--no-deps", *kind, "--dest", fetched, project.tests)
        (archive,) = fetched.iterdir()
        if project.wheel:
            _unpack_wheel(archive, folder, project)
        else:
            _unpack_source(archive, folder)
        shutil.rmtree(fetched)
        stamp.write_text(project.tests)
    for name, text in project.adds:
        (folder / name).write_text(text)
    return folder


def _unpack_wheel(archive: Path, folder: Path, project: Project) -> None:
    """Only the tests, as a package of another name."""
    was, becomes = project.rename
    whole = folder.with_name("whole")
    with zipfile.ZipFile(archive) as wheel:
        wheel.extractall(whole)
    folder.mkdir(parents=True)
    shutil.move(whole / was, folder / becomes)
    shutil.rmtree(whole)


def _unpack_source(archive: Path, folder: Path) -> None:
    """The one folder of the archive, as `folder`."""
    whole = folder.with_name("whole")
    shutil.rmtree(whole, ignore_errors=True)
    with tarfile.open(archive) as packed:
        # The filter came with 3.12, 3.11.4 and 3.10.12; who is older trusts the archive.
        filtered: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        packed.extractall(whole, **filtered)
    (inside,) = whole.iterdir()
    shutil.move(inside, folder)
    shutil.rmtree(whole)


def looplite_path() -> Path:
    """A folder to put first on the path, with looplite and what is known of it (its dialect)."""
    found = importlib.util.find_spec("looplite")
    if found is None or not found.submodule_search_locations:
        raise NotHereError("looplite is not installed in the interpreter that runs this")
    package = Path(found.submodule_search_locations[0])
    folder = BUILD / "looplite"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for entry in [package, *package.parent.glob("looplite-*.dist-info")]:
        (folder / entry.name).symlink_to(entry)
    return folder
