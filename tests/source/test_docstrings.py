"""Everything public has a docstring: what help() and the reference on the site show."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

import docs_python

# What a program imports from, and the packages that have to be there for it.
MODULES = {
    "looplite": "",
    "looplite.adapters.aiosqlite": "",
    "looplite.adapters.aiosqlite.adk": "",
    "looplite.aiosqlite": "",
    "looplite.base": "",
    "looplite.crud": "",
    "looplite.exceptions": "",
    "looplite.extensions.adk": "",
    "looplite.extensions.aiohttp": "aiohttp",
    "looplite.extensions.events": "",
    "looplite.extensions.fastapi": "fastapi",
    "looplite.extensions.litestar": "litestar",
    "looplite.extensions.sanic": "sanic",
    "looplite.extensions.starlette": "starlette",
    "looplite.sqlalchemy": "sqlalchemy",
    "looplite.testing": "pytest",
    "looplite.utils.serializers": "",
}


# The site has no page for them: names of looplite under aiosqlite's, a dialect nobody calls, and
# what JSON is made with.
NOT_SHOWN = {"looplite.aiosqlite", "looplite.sqlalchemy", "looplite.utils.serializers"}


def is_ours(thing: object) -> bool:
    return str(getattr(thing, "__module__", "")).partition(".")[0] == "looplite"


def members(kind: type) -> Iterator[tuple[str, object]]:
    """Public attributes that a class of ours, or one of its bases that is ours, defines."""
    for base in kind.__mro__:
        if not is_ours(base):
            continue
        for name, thing in vars(base).items():
            plain = thing.__func__ if isinstance(thing, (classmethod, staticmethod)) else thing
            told = callable(plain) or inspect.isdatadescriptor(plain)
            # Fields of dataclasses and slots are told of in the class's own docstring.
            slot = inspect.ismemberdescriptor(plain) and getattr(plain, "__doc__", None) is None
            if not name.startswith("_") and told and not slot and not inspect.isclass(plain):
                yield name, plain


def missing(module: ModuleType) -> Iterator[str]:
    """The public names of a module that have no docstring."""
    if not module.__doc__:
        yield module.__name__
    for name in getattr(module, "__all__", None) or vars(module):
        thing = getattr(module, name)
        if name.startswith("_") or not is_ours(thing):
            continue
        if not (inspect.isclass(thing) or callable(thing)):
            continue
        # That of a base class says nothing of this one.
        if not getattr(thing, "__doc__", None):
            yield f"{module.__name__}.{name}"
        elif inspect.isclass(thing):
            yield from (
                f"{module.__name__}.{name}.{member}"
                for member, _ in members(thing)
                if not inspect.getdoc(getattr(thing, member))
            )


@pytest.mark.parametrize("name", MODULES)
def test_public_names_have_docstrings(name: str) -> None:
    if MODULES[name]:
        pytest.importorskip(MODULES[name])
    assert sorted(set(missing(importlib.import_module(name)))) == []


def test_the_reference_has_the_same_modules() -> None:
    shown = {module for *_, modules in docs_python.REFERENCE for module in modules}
    assert shown == set(MODULES) - NOT_SHOWN


def test_methods_of_c_have_signatures() -> None:
    """help() shows what a method takes, though it is written in C."""
    import looplite

    for kind in (looplite.Connection, looplite.Cursor, looplite.Blob):
        for name, thing in members(kind):
            if callable(thing):
                assert inspect.signature(thing).parameters, f"{kind.__name__}.{name}"
    assert "database" in inspect.signature(looplite.connect).parameters
