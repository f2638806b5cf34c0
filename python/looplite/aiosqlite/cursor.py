"""The names of ``aiosqlite.cursor``."""

from looplite._core import Cursor

__all__ = ["Cursor"]
