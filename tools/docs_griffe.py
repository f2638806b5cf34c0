"""A griffe extension: gives what is written in C the docstrings that the built extension has.

The stubs (python/looplite/_core.pyi) have the types, the compiled module has the texts; the Python
reference of the documentation site needs both.
"""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import griffe


class CompiledDocstrings(griffe.Extension):  # type: ignore[misc]
    """Fills in docstrings that the stubs leave out."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Called when the whole package was read."""
        if pkg.path == "looplite":
            _fill(pkg["_core"], importlib.import_module("looplite._core"))


def _fill(where: griffe.Object, live: object) -> None:
    for name, member in where.members.items():
        if member.is_alias or not hasattr(live, name):
            continue
        there = inspect.getattr_static(live, name)
        text = inspect.getdoc(there) or inspect.getdoc(getattr(live, name))
        if text and member.docstring is None and not name.startswith("__"):
            member.docstring = griffe.Docstring(text, parent=member)
        if member.is_class:
            _fill(member, there)
