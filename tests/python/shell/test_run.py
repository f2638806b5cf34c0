"""``python -m looplite run`` beside ``python``: the same arguments, paths, names, exit statuses and
tracebacks.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support import SCRIPT_SECONDS, looplite_only

pytestmark = looplite_only

FACTS = """
import sys, aiosqlite
import __main__
facts = {
    "name": __name__,
    "file": globals().get("__file__"),
    "package": __package__,
    "spec": __spec__ and __spec__.name,
    "argv": sys.argv,
    "path": sys.path[0],
    "main": __main__.__dict__ is globals(),
}
print(facts)
"""

BEHAVIOUR = {
    "falls off": "",
    "exits": "sys.exit(7)",
    "exits with text": "sys.exit('text')",
    "raises": "def f():\n    1 / 0\nf()",
    "raises from": "try:\n    {}['x']\nexcept KeyError as e:\n    raise ValueError('y') from e",
    "raises SystemExit in a coroutine": (
        "import asyncio\nasync def main():\n    raise SystemExit(3)\nasyncio.run(main())"
    ),
    "exit handlers": "import atexit\natexit.register(print, 'left')\nsys.exit(4)",
    "an excepthook of its own": "sys.excepthook = lambda *a: print('mine', a[0])\n1 / 0",
    "an exception in a thread": (
        "import threading\nt = threading.Thread(target=lambda: 1 / 0)\nt.start()\nt.join()"
    ),
}


def python(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SCRIPT_SECONDS,
        check=False,
        env={**{k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}, **env},
    )


def outcome(done: subprocess.CompletedProcess[str]) -> tuple[int, str, str]:
    # runpy's two frames stand in the tracebacks of `python -m`, up to 3.10 with their lines: they
    # are nobody's.
    shown = ("return _run_code(code, main_globals, None,", "exec(code, run_globals)")
    lines = [
        line
        for line in done.stderr.splitlines()
        if "runpy" not in line and line.strip() not in shown
    ]
    return done.returncode, done.stdout, "\n".join(lines)


def same(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    expected = python(folder, *arguments)
    found = python(folder, "-m", "looplite", "run", *arguments)
    assert outcome(found) == outcome(expected)
    return found


@pytest.mark.parametrize("body", BEHAVIOUR.values(), ids=BEHAVIOUR.keys())
def test_a_script(tmp_path: Path, body: str) -> None:
    (tmp_path / "script.py").write_text(FACTS + body)
    found = same(tmp_path, "script.py", "a", "-m", "--help", "run")
    assert "'argv': ['script.py', 'a', '-m', '--help', 'run']" in found.stdout


def test_a_script_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "beside.py").write_text("value = 5\n")
    (tmp_path / "sub" / "script.py").write_text(FACTS + "import beside; print(beside.value)")
    same(tmp_path, "sub/script.py")
    same(tmp_path, str(tmp_path / "sub" / "script.py"))


@pytest.mark.parametrize("body", BEHAVIOUR.values(), ids=BEHAVIOUR.keys())
def test_a_module(tmp_path: Path, body: str) -> None:
    (tmp_path / "module.py").write_text(FACTS + body)
    same(tmp_path, "-m", "module", "a", "-h")


def test_a_package(tmp_path: Path) -> None:
    (tmp_path / "package" / "inner").mkdir(parents=True)
    (tmp_path / "package" / "__init__.py").write_text("print('package', __name__)\n")
    (tmp_path / "package" / "__main__.py").write_text(FACTS + "from . import inner")
    (tmp_path / "package" / "inner" / "__init__.py").write_text("")
    same(tmp_path, "-m", "package", "a")
    same(tmp_path, "package", "a")
    for name in ("nothing", "package.nothing", "nothing.at.all"):
        found = python(tmp_path, "-m", "looplite", "run", "-m", name)
        assert found.returncode == 1
        assert name in found.stderr
        assert "Traceback" not in found.stderr
    found = python(tmp_path, "-m", "looplite", "run", "-m", "package.inner")
    assert found.returncode == 1
    assert "cannot be directly executed" in found.stderr


def test_a_zip_file(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "program.zip", "w") as archive:
        archive.writestr("__main__.py", FACTS + "import beside")
        archive.writestr("beside.py", "")
    same(tmp_path, "program.zip", "a")


def test_mistakes(tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text("x = = 1\n")
    same(tmp_path, "wrong.py")
    same(tmp_path, "missing.py")
    (tmp_path / "empty").mkdir()
    same(tmp_path, "empty")


def test_it_is_looplite_that_it_gets(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "import asyncio, aiosqlite, looplite\n"
        "assert aiosqlite.connect is looplite.connect\n"
        "async def main():\n"
        "    async with aiosqlite.connect('x.db') as db:\n"
        "        print(await db.execute_fetchall('SELECT 40 + 2'))\n"
        "asyncio.run(main())\n"
    )
    found = python(tmp_path, "-m", "looplite", "run", "script.py")
    assert (found.returncode, found.stdout, found.stderr) == (0, "[(42,)]\n", "")


@pytest.mark.parametrize("options", [["-I"], ["-E"], ["-O"], ["-X", "dev"]], ids=str)
def test_options_of_the_interpreter(tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "script.py").write_text(
        "import sys\nprint(sys.flags, __debug__, sys.argv, sys.path[0])\n"
    )
    expected = python(tmp_path, *options, "script.py")
    found = python(tmp_path, *options, "-m", "looplite", "run", "script.py")
    assert outcome(found) == outcome(expected)


def test_ctrl_c(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("raise KeyboardInterrupt\n")
    found = same(tmp_path, "script.py")
    assert found.returncode == -signal.SIGINT


def test_usage(tmp_path: Path) -> None:
    found = python(tmp_path, "-m", "looplite", "--help")
    assert found.returncode == 0
    assert "usage: python -m looplite" in found.stdout
    found = python(tmp_path, "-m", "looplite", "run")
    assert found.returncode == 2
    assert "target" in found.stderr
    found = python(tmp_path, "-m", "looplite", "run", "--help")
    assert found.returncode == 0
    assert "(script | -m module)" in found.stdout
    found = python(tmp_path, "-m", "looplite", "--version")
    assert found.stdout.startswith("looplite ")
