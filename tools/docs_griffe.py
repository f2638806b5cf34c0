"""A griffe extension: docstrings that are not where griffe looks for them.

The stubs (python/looplite/_core.pyi) have the types of what is written in C, the compiled module
has the texts; a method that overrides one without saying more has its text from there. Both are
asked of the installed package. Pages that a docstring names become links.
"""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Any

import griffe

_PAGE = re.compile(r"`*docs/([\w/-]+)\.md`*")


class LiveDocstrings(griffe.Extension):  # type: ignore[misc]
    """Fills in docstrings as help() shows them."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Called when the whole package was read."""
        if pkg.path == "looplite":
            _module(pkg)


def _module(module: griffe.Module) -> None:
    try:
        live = importlib.import_module(module.path)
    except ImportError:
        return  # an extension for what is not installed
    _members(module, live)


def _members(where: Any, live: object) -> None:
    for name, member in where.members.items():
        if member.is_alias:
            continue
        if member.is_module:
            _module(member)
            continue
        there = getattr(live, name, None)
        if member.docstring is None and there is not None and not name.startswith("_"):
            # The docstring of a value is that of its class, which says nothing of the attribute.
            told = callable(there) or inspect.isdatadescriptor(there)
            told = told and (member.is_class or not inspect.isclass(there))
            if told and (text := inspect.getdoc(there)):
                member.docstring = griffe.Docstring(text, parent=member)
        if member.docstring is not None:
            member.docstring.value = _PAGE.sub(_link, member.docstring.value)
        if member.is_class and there is not None:
            _members(member, there)


def _link(m: re.Match[str]) -> str:
    return f"[docs/{m[1]}](../{m[1]}.md)"
