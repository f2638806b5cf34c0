"""Comparing an exception with the one that `sqlite3` raises for the same thing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any


def raised_by(call: Callable[..., Any], *args: Any, **options: Any) -> Exception:
    """What a synchronous call raises; it has to raise."""
    try:
        result = call(*args, **options)
    except Exception as error:
        return error
    raise AssertionError(f"nothing was raised, the result was {result!r}")


def same_error(found: BaseException, expected: BaseException) -> None:
    """Class, message and SQLite's code are equal."""

    def facts(error: BaseException) -> tuple[Any, ...]:
        return (
            type(error),
            str(error),
            getattr(error, "sqlite_errorcode", None),
            getattr(error, "sqlite_errorname", None),
        )

    assert facts(found) == facts(expected)


def has_code(error: BaseException, code: str) -> None:
    """The exception says which SQLite error it is, where the running Python's `sqlite3` says so
    (3.11).
    """
    if hasattr(sqlite3, "SQLITE_BUSY"):
        assert error.sqlite_errorname == code  # type: ignore[attr-defined]
        assert error.sqlite_errorcode == getattr(sqlite3, code)  # type: ignore[attr-defined]
