"""The version of aiosqlite whose interface this is; programs compare it."""

__version__ = "0.22.1"
