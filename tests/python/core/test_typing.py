"""Stubs: there, and naming exactly what the built module has."""

from __future__ import annotations

import ast
import importlib
import inspect
import sqlite3
from pathlib import Path
from types import ModuleType

import pytest
from support import lib, looplite_only

pytestmark = looplite_only

# Given to every class by Python itself, or written by the interpreter and not by us.
GIVEN = set(dir(object)) | {
    "__dict__",
    "__weakref__",
    "__module__",
    "__doc__",
    "__firstlineno__",
    "__static_attributes__",
}


def core() -> ModuleType:
    return importlib.import_module("looplite._core")


def stub() -> ast.Module:
    assert lib.__file__ is not None
    path = Path(lib.__file__).with_name("_core.pyi")
    assert path.is_file()
    return ast.parse(path.read_text())


def names(body: list[ast.stmt]) -> set[str]:
    found: set[str] = set()
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
        elif isinstance(node, ast.Assign):
            found.update(t.id for t in node.targets if isinstance(t, ast.Name))
        elif isinstance(node, ast.If):
            found |= names(node.body) | names(node.orelse)
    return found


def public(found: set[str]) -> set[str]:
    return {name for name in found if not name.startswith("_")}


def test_marked_as_typed() -> None:
    assert lib.__file__ is not None
    assert Path(lib.__file__).with_name("py.typed").is_file()


def test_every_name_is_in_the_stub_and_the_other_way_round() -> None:
    have = public({n for n in vars(core()) if not inspect.ismodule(getattr(core(), n))})
    # Imported names of the stub are no part of it, nor type variables.
    assert public(names(stub().body)) == have


# What is there only where the running Python's sqlite3 has it.
OPTIONAL = {
    "blobopen",
    "create_window_function",
    "deserialize",
    "enable_load_extension",
    "getconfig",
    "getlimit",
    "load_extension",
    "serialize",
    "setconfig",
    "setlimit",
}


def lacking(name: str) -> set[str]:
    if name != "Connection":
        return set()
    return {n for n in OPTIONAL if not hasattr(sqlite3.Connection, n)}


@pytest.mark.parametrize("name", ["Connection", "Cursor", "Result", "Blob"])
def test_every_member_is_in_the_stub_and_the_other_way_round(name: str) -> None:
    (declared,) = (n for n in stub().body if isinstance(n, ast.ClassDef) and n.name == name)
    real = {n for n in dir(getattr(core(), name)) if n not in GIVEN}
    said = names(declared.body) - lacking(name)
    assert public(said) == public(real)
    special = {n for n in real if n.startswith("__")} - {
        "__del__",
        "__class_getitem__",
        "__vectorcalloffset__",
    }
    assert {n for n in special if n not in said and n.startswith("__a")} == set()
    assert said - GIVEN - real <= {"__init__", "__name__", "__qualname__"}


def test_all_is_complete() -> None:
    assert public(set(lib.__all__)) <= set(dir(lib))
    for name in ("connect", "Connection", "Cursor", "Row", "Error"):
        assert name in lib.__all__
    assert len(lib.__all__) == len(set(lib.__all__))


@pytest.mark.parametrize("name", ["Connection", "Cursor", "Result", "Blob"])
def test_parameters_agree_with_the_stub(name: str) -> None:
    """Where the built function has a signature, its parameters are those of the stub."""
    (declared,) = (n for n in stub().body if isinstance(n, ast.ClassDef) and n.name == name)
    for node in declared.body:
        if (
            not isinstance(node, ast.FunctionDef)
            or node.name.startswith("_")
            or node.decorator_list
            or node.name in lacking(name)
        ):
            continue
        real = getattr(getattr(core(), name), node.name)
        try:
            signature = inspect.signature(real)
        except ValueError:
            continue
        said = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        have = [p.name for p in signature.parameters.values()]
        assert have[1:] == said[1:], f"{name}.{node.name}"


def test_documented() -> None:
    assert lib.__doc__
    for kind in (core().Connection, core().Cursor, core().Result, core().Blob):
        assert kind.__doc__, kind
        for name in public(set(dir(kind))):
            assert getattr(kind, name).__doc__, f"{kind.__name__}.{name}"
    assert core().connect.__doc__
