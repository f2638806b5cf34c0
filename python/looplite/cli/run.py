"""``python -m looplite run``: a program that imports aiosqlite, unchanged, on looplite.

Does what ``python script.py`` and ``python -m module`` do - sys.argv, sys.path, ``__main__`` -
after ``looplite.install()``. The program's code is executed here, in a fresh ``__main__``; nothing
of ours is in the way of its exit status, its signals or its exit handlers, and our own frames are
left out of its tracebacks.
"""

from __future__ import annotations

import argparse
import importlib.machinery
import importlib.util
import io
import os
import sys
import types
from importlib.machinery import ModuleSpec
from pathlib import Path
from pkgutil import get_importer
from typing import Any, NoReturn

from looplite._install import install


def add_parser(commands: Any) -> None:
    """Adds the subcommand."""
    parser = commands.add_parser(
        "run",
        help="run a program that uses aiosqlite on looplite",
        description="Runs a script, a directory or zip file with a __main__.py, or with -m a "
        "module, so that `import aiosqlite` in it gives looplite.",
        usage="python -m looplite run [-h] (script | -m module) [arguments ...]",
    )
    parser.add_argument(
        "-m", dest="module", action="store_true", help="run a module, as python -m does"
    )
    parser.add_argument("target", help="the script or the module")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="its own arguments")
    parser.set_defaults(command=_run)


def _fail(message: str, status: int) -> NoReturn:
    print(f"{sys.executable}: {message}", file=sys.stderr)
    sys.exit(status)


def _set_path(first: str) -> None:
    """What stands first in sys.path was put there for `-m looplite`; with -P or -I nothing was."""
    if not getattr(sys.flags, "safe_path", False) and not sys.flags.isolated:
        sys.path[0] = first


def _module_code(name: str) -> tuple[types.CodeType, ModuleSpec]:
    """The code that ``python -m name`` runs, by the rules of runpy."""
    try:
        spec = importlib.util.find_spec(name)
    except ImportError as exc:
        _fail(
            f"Error while finding module specification for {name!r} ({type(exc).__name__}: {exc})",
            1,
        )
    if spec is None:
        _fail(f"No module named {name}", 1)
    if spec.submodule_search_locations is not None:
        main = f"{name}.__main__"
        inner = importlib.util.find_spec(main)
        if inner is None:
            _fail(
                f"No module named {main}; {name!r} is a package and cannot be directly executed", 1
            )
        spec = inner
    return _spec_code(spec), spec


def _spec_code(spec: ModuleSpec) -> types.CodeType:
    get_code = getattr(spec.loader, "get_code", None)
    code = get_code(spec.name) if get_code is not None else None
    if code is None:
        _fail(f"No code object available for {spec.name}", 1)
    assert isinstance(code, types.CodeType)
    return code


def _script_code(path: str) -> types.CodeType:
    try:
        with io.open_code(path) as file:
            source = file.read()
    except OSError as exc:
        _fail(f"can't open file {path!r}: [Errno {exc.errno}] {exc.strerror}", 2)
    return compile(source, path, "exec", dont_inherit=True)


class _Frames:
    """A sys.excepthook that leaves out the frames above the program's own."""

    def __init__(self, globals_: dict[str, Any]) -> None:
        self._globals = globals_
        self._next = sys.excepthook

    def __call__(
        self,
        kind: type[BaseException],
        exc: BaseException,
        traceback: types.TracebackType | None,
    ) -> None:
        at = traceback
        while at is not None and at.tb_frame.f_globals is not self._globals:
            at = at.tb_next
        if at is not None or isinstance(exc, SyntaxError):
            exc.__traceback__ = traceback = at
        self._next(kind, exc, traceback)


def _prepare(spec: ModuleSpec | None, file: str | None, loader: Any) -> types.ModuleType:
    main = types.ModuleType("__main__")
    main.__dict__.update(
        __file__=file,
        __cached__=None if spec is None else spec.cached,
        __loader__=loader,
        __package__=None if spec is None else spec.parent,
        __spec__=spec,
        __builtins__=sys.modules["builtins"],
        __annotations__={},
    )
    if file is None:
        del main.__dict__["__file__"]
    sys.modules["__main__"] = main
    sys.excepthook = _Frames(main.__dict__)
    return main


def _run(arguments: argparse.Namespace) -> None:
    install()
    target: str = arguments.target
    spec: ModuleSpec | None = None
    if arguments.module:
        sys.argv = ["-m", *arguments.arguments]
        _set_path(os.getcwd())
        code, spec = _module_code(target)
        sys.argv[0] = spec.origin or target
        main = _prepare(spec, spec.origin, spec.loader)
    elif (
        importer := get_importer(os.path.abspath(target))
    ) is not None:  # a directory or a zip file
        sys.argv = [target, *arguments.arguments]
        _set_path(os.path.abspath(target))
        spec = importer.find_spec("__main__", None)
        if spec is None:
            _fail(f"can't find '__main__' module in {os.path.abspath(target)!r}", 1)
        code = _spec_code(spec)
        main = _prepare(spec, spec.origin, spec.loader)
    else:
        sys.argv = [target, *arguments.arguments]
        _set_path(str(Path(target).resolve().parent))
        path = os.path.abspath(target)
        loader = importlib.machinery.SourceFileLoader("__main__", path)
        main = _prepare(None, path, loader)
        code = _script_code(path)
    exec(code, main.__dict__)  # noqa: S102 - this is what it is for
