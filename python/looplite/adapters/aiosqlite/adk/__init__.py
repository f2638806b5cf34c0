"""The ADK store on SQLite: `AiosqliteADKStore`."""

from looplite.adapters.aiosqlite.adk.store import AiosqliteADKStore

__all__ = ("AiosqliteADKStore",)
