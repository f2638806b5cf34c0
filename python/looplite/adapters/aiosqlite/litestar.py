"""Where SQLSpec has its store for Litestar; `looplite.extensions.litestar` is its home."""

from looplite.extensions.litestar.store import AiosqliteStore

__all__ = ["AiosqliteStore"]
