"""The corpus, under legacy transaction control and under autocommit."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from oracle.corpus import SEQUENCES, cases
from oracle.steps import Exec, Step, compare, on_lib, on_sqlite3

CASES = list(cases())


@pytest.mark.parametrize("steps", [c[1] for c in CASES], ids=[c[0] for c in CASES])
def test_legacy_transactions(steps: Sequence[Step]) -> None:
    compare(steps)


@pytest.mark.parametrize("steps", [c[1] for c in CASES if c[0] in SEQUENCES], ids=list(SEQUENCES))
def test_autocommit(steps: Sequence[Step]) -> None:
    compare(steps, isolation_level=None)


@pytest.mark.parametrize("level", ["DEFERRED", "IMMEDIATE", "EXCLUSIVE"])
@pytest.mark.parametrize(
    "name",
    ["legacy_begin", "many", "savepoints", "error_keeps_transaction", "returning", "script_error"],
)
def test_other_levels(name: str, level: str) -> None:
    compare(dict(CASES)[name], isolation_level=level)


@pytest.mark.parametrize("size", [0, 1, 128])
def test_statement_cache_sizes(size: int) -> None:
    for name in (
        "schema_changes_under_cached_statement",
        "same_statement_two_cursors",
        "execute_drops_rest",
        "many",
    ):
        compare(dict(CASES)[name], cached_statements=size)


def test_the_corpus_is_large_enough_and_reaches_errors() -> None:
    """A corpus in which every step fails, or none, would prove little."""
    assert len(CASES) >= 200
    outcomes = [seen[0][0] for _, steps in CASES for seen in on_sqlite3(steps)]
    failed = outcomes.count("raised")
    assert failed > 100
    assert len(outcomes) - failed > 400


def test_a_difference_is_found() -> None:
    """The comparison itself: what was observed says enough to tell two cases apart."""
    loop = asyncio.new_event_loop()
    try:
        found = loop.run_until_complete(on_lib([Exec("SELECT 1")]))
    finally:
        loop.close()
    assert found != on_sqlite3([Exec("SELECT 1.0")])
    assert found != on_sqlite3([Exec("SELECT 1 AS b")])
    assert found == on_sqlite3([Exec("SELECT 1")])
