"""`AiosqliteADKStore` beside the same statements written by hand, in both layouts."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, TypeVar

import looplite
import pytest
from adk.by_hand import COLUMNS_SCHEMA, DOCUMENT_SCHEMA, Store
from adk.standin import Config
from looplite.adapters.aiosqlite.adk import AiosqliteADKStore
from looplite.extensions.adk import BaseAsyncADKStore, EventRecord

T = TypeVar("T")

T0 = datetime(2026, 11, 25, 12, 0, 0, 123457, tzinfo=timezone.utc)
STEP = timedelta(microseconds=41)


def run(
    path: Path | str,
    body: Callable[[AiosqliteADKStore], Awaitable[T]],
    adk: dict[str, Any] | None = None,
    **options: Any,
) -> T:
    async def main() -> T:
        async with Config(path, adk, **options) as config:
            return await body(AiosqliteADKStore(config))

    return asyncio.run(main())


def an_event(name: str, session: str = "s1", **more: Any) -> EventRecord:
    record: dict[str, Any] = {
        "id": name,
        "session_id": session,
        "app_name": "app",
        "user_id": "ann",
        "invocation_id": "i1",
        "timestamp": T0,
        "author": "user",
        "actions": b"{}",
    }
    return {**record, **more}  # type: ignore[typeddict-item]


FULL: dict[str, Any] = {
    "author": "agent",
    "actions": b'{"state_delta":{"a":1}}',
    "long_running_tool_ids_json": '["x", "y"]',
    "branch": "a.b",
    "content": {"parts": [{"text": "h\u00e9llo \U0001f600"}], "role": "model"},
    "grounding_metadata": {"k": [1, 2.5, None, True]},
    "custom_metadata": {"": {}},
    "partial": False,
    "turn_complete": True,
    "interrupted": None,
    "error_code": "E1",
    "error_message": "it's",
}


def near(got: datetime, expected: datetime) -> bool:
    return got.tzinfo is timezone.utc and abs(got - expected) <= STEP


def test_a_database_of_the_store_is_one_by_hand(tmp_path: Path) -> None:
    async def body(store: AiosqliteADKStore) -> Any:
        await store.create_tables()
        await store.create_tables()
        made = await store.create_session("s1", "app", "ann", {"n": [1, {"x": None}]})
        await store.append_event(an_event("e1", **FULL))
        await store.append_event(an_event("e2"))
        return made, await store.get_session("s1"), await store.get_events("s1")

    made, got, events = run(tmp_path / "a.db", body)
    hand = Store(tmp_path / "a.db")
    assert made == got
    by_hand = hand.get_session("s1")
    assert by_hand is not None
    assert near(made["create_time"], by_hand["create_time"])
    assert {**by_hand, "create_time": 0, "update_time": 0} == {
        **got,
        "create_time": 0,
        "update_time": 0,
    }
    for ours, theirs in zip(events, hand.get_events("s1"), strict=True):
        assert near(ours["timestamp"], theirs["timestamp"])
        assert {**ours, "timestamp": 0} == {**theirs, "timestamp": 0}
    assert {key: events[0][key] for key in FULL} == FULL
    hand.delete_session("s1")
    assert hand.db.execute("SELECT count(*) FROM adk_events").fetchone() == (0,)
    hand.db.close()


def test_a_database_by_hand_is_one_of_the_store(tmp_path: Path) -> None:
    hand = Store(tmp_path / "a.db")
    hand.db.executescript(COLUMNS_SCHEMA)
    hand.create_session("s1", "app", "ann", {"n": 1})
    hand.append_event(dict(an_event("e1", **FULL)))

    async def body(store: AiosqliteADKStore) -> None:
        record = await store.get_session("s1")
        assert record is not None
        assert record["state"] == {"n": 1}
        (event,) = await store.get_events("s1")
        assert {key: event[key] for key in FULL} == FULL  # type: ignore[literal-required]
        await store.update_session_state("s1", {"m": 2})
        await store.append_event(an_event("e2"))
        await store.delete_session("s1")
        await store.delete_session("s1")
        assert await store.get_session("s1") is None
        assert await store.get_events("s1") == []

    run(tmp_path / "a.db", body)
    assert hand.db.execute("SELECT count(*) FROM adk_events").fetchone() == (0,)
    hand.db.close()


@pytest.fixture(params=["columns", "document", "newer"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A path, and what the store is to be told; `newer`: tables of SQLSpec's names are there."""
    path = tmp_path / "a.db"
    if request.param == "newer":
        db = sqlite3.connect(path)
        db.executescript(DOCUMENT_SCHEMA)
        db.close()
        return path, {}
    return path, {"layout": request.param}


def test_the_order_of_sessions_and_events(database: tuple[Path, dict[str, Any]]) -> None:
    async def body(store: AiosqliteADKStore) -> None:
        await store.create_tables()
        for name, user in (("s1", "ann"), ("s2", "bob"), ("s3", "ann")):
            await store.create_session(name, "app", user, {})
        await store.create_session("other", "app2", "ann", {})
        await store.update_session_state("s1", {"changed": True})
        assert [one["id"] for one in await store.list_sessions("app")] == ["s1", "s3", "s2"]
        assert [one["id"] for one in await store.list_sessions("app", "ann")] == ["s1", "s3"]
        assert await store.list_sessions("app", user_id="eve") == []
        await store.append_event(an_event("z"))
        await store.append_event(an_event("a"))  # at the same time
        await store.append_event(an_event("later", timestamp=T0 + STEP))
        await store.append_event(an_event("first", timestamp=T0 - STEP))

        async def ids(*key: Any, **more: Any) -> list[str]:
            return [one["id"] for one in await store.get_events(*key, **more)]

        assert await ids("s1") == ["first", "z", "a", "later"]
        assert await ids("s1", limit=2) == ["first", "z"]
        assert await ids("s1", limit=0) == []
        assert await ids("s1", after_timestamp=T0 - STEP) == ["z", "a", "later"]
        assert await ids("s1", T0, 5) == ["later"]
        # as newer SQLSpec calls it
        assert await ids("app", "ann", "s1", limit=1) == ["first"]
        assert await ids("app", "bob", "s1") == []
        assert await ids(app_name="app", user_id="ann", session_id="s1", after_timestamp=T0) == [
            "later"
        ]
        # what was read leads to the same place again
        events = await store.get_events("s1")
        for n, event in enumerate(events[:1] + events[2:]):
            rest = await store.get_events("s1", after_timestamp=event["timestamp"])
            assert len(rest) == (3, 1, 0)[n]
        with pytest.raises(ValueError, match="limit must not be negative"):
            await store.get_events("s1", limit=-1)

    path, adk = database
    run(path, body, adk)


def test_parts_of_events_in_every_layout(database: tuple[Path, dict[str, Any]]) -> None:
    document = {"author": "agent", "content": {"parts": []}, "usage_metadata": {"n": 3}}

    async def body(store: AiosqliteADKStore) -> None:
        await store.create_tables()
        await store.create_session("s1", "app", "ann", {})
        await store.append_event(an_event("e1", **FULL))
        newer: Any = {**an_event("e2"), "event_data": document}
        del newer["author"], newer["actions"]
        await store.append_event(newer)
        first, second = await store.get_events("s1")
        for key, value in FULL.items():
            if key == "actions" and "event_data" in first:
                assert b'"state_delta"' in first["actions"]
            elif key == "long_running_tool_ids_json":
                assert first["long_running_tool_ids_json"] == '["x", "y"]'
            else:
                assert first[key] == value  # type: ignore[literal-required]
        assert second["author"] == "agent"
        assert second["content"] == {"parts": []}
        assert b"usage_metadata" in second["actions"]
        if "event_data" in second:
            assert second["event_data"] == document
            with pytest.raises(ValueError, match="actions must be JSON for this database"):
                await store.append_event(an_event("e3", actions=b"\x80\x05."))
        else:
            await store.append_event(an_event("e3", actions=b"\x80\x05."))

    path, adk = database
    run(path, body, adk)


@pytest.mark.parametrize("keys", [True, False])
def test_what_must_fail(database: tuple[Path, dict[str, Any]], keys: bool) -> None:
    async def body(store: AiosqliteADKStore) -> None:
        await store.create_tables()
        await store.create_session("s1", "app", "ann", {})
        with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
            await store.create_session("s1", "app2", "bob", {})
        with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
            await store.append_event(an_event("e1", "none"))
        with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
            await store.append_events([an_event("e1"), an_event("e2", "none")])
        assert await store.get_events("s1") == []
        await store.append_events([an_event("e1"), an_event("e2")])
        await store.append_events([])
        assert len(await store.get_events("s1")) == 2
        with pytest.raises(KeyError, match="_id"):
            await store.append_event({"id": "x"})  # type: ignore[typeddict-item]
        with pytest.raises(TypeError, match="timestamp must be a datetime, not float"):
            await store.append_event(an_event("e3", timestamp=1.0))
        with pytest.raises(TypeError, match="session_id must be a str"):
            await store.get_session(None)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"get_session\(\) misses 'session_id'"):
            await store.get_session()
        with pytest.raises(TypeError, match="takes app_name, user_id, session_id"):
            await store.get_session("a", "b", "c", "d")
        with pytest.raises(TypeError, match="unexpected 'name'"):
            await store.get_session("a", name="b")
        await store.delete_session("s1")
        assert await store.get_events("s1") == []

    path, adk = database
    run(path, body, adk, keys=keys)


def test_calls_with_app_and_user(database: tuple[Path, dict[str, Any]]) -> None:
    async def body(store: AiosqliteADKStore) -> None:
        await store.create_tables()
        await store.create_session("s1", "app", "ann", {})
        assert await store.get_session("app", "bob", "s1") is None
        assert await store.get_session(app_name="app", user_id="ann", session_id="s1") is not None
        await store.update_session_state("app", "bob", "s1", {"no": 1})
        await store.delete_session("app", "bob", "s1")
        record = await store.get_session("app", "ann", "s1")
        assert record is not None
        assert record["state"] == {}
        await store.update_session_state("app", "ann", "s1", {"yes": 1})
        record = await store.get_session("s1")
        assert record is not None
        assert record["state"] == {"yes": 1}
        assert record["update_time"] > record["create_time"]
        await store.upsert_app_state("app", {"app:a": 1})
        await store.upsert_app_state("app", {"app:b": 1})
        assert await store.get_app_state("app") == {"app:b": 1}
        assert await store.get_user_state("app", "ann") is None
        await store.upsert_user_state("app", "ann", {"user:u": 1})
        assert await store.get_user_state("app", "ann") == {"user:u": 1}
        await store.delete_session("app", "ann", "s1")
        assert await store.get_session("s1") is None

    path, adk = database
    run(path, body, adk)


def test_names_are_quoted(tmp_path: Path) -> None:
    adk = {
        "session_table": 'x"; DROP TABLE victim; --',
        "events_table": "select",
        "owner_id_column": "account_id INTEGER NOT NULL DEFAULT 7",
    }
    with sqlite3.connect(tmp_path / "a.db") as db:
        db.execute("CREATE TABLE victim(x)")

    async def body(store: AiosqliteADKStore) -> None:
        assert isinstance(store, BaseAsyncADKStore)
        assert store.session_table == adk["session_table"]
        assert store.events_table == "select"
        assert store.owner_id_column_ddl == adk["owner_id_column"]
        assert store.owner_id_column_name == "account_id"
        assert isinstance(store.config, Config)
        await store.create_tables()
        await store.create_session("s1", "app", "ann", {}, owner_id=5)
        await store.append_event(an_event("e1"))
        assert len(await store.get_events("s1")) == 1

    run(tmp_path / "a.db", body, adk)
    assert db.execute('SELECT account_id FROM "x""; DROP TABLE victim; --"').fetchall() == [(5,)]
    assert db.execute("SELECT * FROM victim").fetchall() == []
    db.close()


def test_the_owner_is_added_to_a_table_that_is_there(tmp_path: Path) -> None:
    async def plain(store: AiosqliteADKStore) -> None:
        await store.create_tables()
        await store.create_session("s1", "app", "ann", {})
        with pytest.raises(ValueError, match="owner_id is given"):
            await store.create_session("s2", "app", "ann", {}, 3)

    async def owned(store: AiosqliteADKStore) -> None:
        await store.create_tables()
        await store.create_tables()
        await store.create_session("s2", "app", "ann", {}, 3)

    run(tmp_path / "a.db", plain)
    run(tmp_path / "a.db", owned, {"owner_id_column": "owner INTEGER"})
    with sqlite3.connect(tmp_path / "a.db") as db:
        assert db.execute("SELECT owner FROM adk_sessions ORDER BY id").fetchall() == [
            (None,),
            (3,),
        ]
    db.close()


@pytest.mark.parametrize(
    ("adk", "kind", "message"),
    [
        ({"sesion_table": "x"}, ValueError, "unknown key 'sesion_table'"),
        ({"session_table": 3}, TypeError, "session_table must be the name of a table, not 3"),
        ({"layout": "wide"}, ValueError, 'layout must be "columns" or "document"'),
        ({"owner_id_column": "a TEXT); --"}, ValueError, "owner_column: a parenthesis is not open"),
        ({"events_table": "adk_sessions"}, ValueError, "are both"),
        ({"events_table": "a\0b"}, ValueError, "null character"),
    ],
)
def test_settings_that_are_wrong(adk: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        AiosqliteADKStore(Config(":memory:", adk))


def test_documents_without_app_and_user(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "a.db") as db:
        db.execute("CREATE TABLE adk_events(id TEXT PRIMARY KEY, session_id, event_data)")
    db.close()

    async def body(store: AiosqliteADKStore) -> None:
        for _ in range(2):
            with pytest.raises(ValueError, match="table adk_events has documents without app"):
                await store.get_session("s1")

    run(tmp_path / "a.db", body)


def test_names_as_arguments() -> None:
    store = AiosqliteADKStore(Config(":memory:", {"session_table": "x"}), events_table="y")
    assert (store.session_table, store.events_table) == ("x", "y")
    assert store.owner_id_column_name is None


def test_without_tables(tmp_path: Path) -> None:
    async def body(store: AiosqliteADKStore) -> None:
        with pytest.raises(sqlite3.OperationalError, match="no such table: adk_sessions"):
            await store.get_session("s1")
        await store.create_tables()
        assert await store.get_session("s1") is None

    run(tmp_path / "a.db", body)


@pytest.mark.parametrize("level", [None, "DEFERRED", "IMMEDIATE"])
def test_any_isolation_level_and_row_factory(tmp_path: Path, level: str | None) -> None:
    async def body(store: AiosqliteADKStore) -> None:
        await store.create_tables()
        for connection in store.config.all:  # type: ignore[attr-defined]
            connection.row_factory = looplite.Row
        await store.create_session("s1", "app", "ann", {})
        await store.append_events([an_event("e1")])
        assert len(await store.get_events("s1")) == 1

    run(tmp_path / "a.db", body, isolation_level=level)
    with sqlite3.connect(tmp_path / "a.db") as db:
        assert db.execute("SELECT count(*) FROM adk_events").fetchone() == (1,)
    db.close()


def test_many_at_once(tmp_path: Path) -> None:
    async def body(store: AiosqliteADKStore) -> None:
        await store.create_tables()
        await store.create_session("s1", "app", "ann", {})
        await asyncio.gather(*(store.append_event(an_event(f"e{n}")) for n in range(50)))
        assert len({one["id"] for one in await store.get_events("s1")}) == 50

    run(tmp_path / "a.db", body)


def test_a_cancelled_append_of_many_leaves_nothing_open(tmp_path: Path) -> None:
    async def body(store: AiosqliteADKStore) -> None:
        await store.create_tables()
        await store.create_session("s1", "app", "ann", {})
        for turns in range(12):
            events = [an_event(f"e{turns}-{n}") for n in range(20)]
            task = asyncio.ensure_future(store.append_events(events))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            done = True
            try:
                await task
            except asyncio.CancelledError:
                done = False
            stored = [one["id"] for one in await store.get_events("s1")]
            mine = sum(name.startswith(f"e{turns}-") for name in stored)
            assert mine in ((20,) if done else (0, 20))

    run(tmp_path / "a.db", body)


@pytest.mark.parametrize("offset", [None, timezone.utc, timezone(timedelta(hours=-3, minutes=30))])
def test_times_in_any_zone(offset: timezone | None) -> None:
    tables = looplite._core.AdkTables
    time = T0.replace(tzinfo=None) if offset is None else T0.astimezone(offset)
    got = tables.time(tables.julian(time))
    assert near(got, T0)
    assert tables.time(tables.julian(got)) == got
    for year in (1, 1582, 1969, 1970, 2000, 2100, 9999):
        for month, day in ((1, 1), (2, 28), (3, 1), (12, 31)):
            there = datetime(year, month, day, 23, 59, 59, tzinfo=timezone.utc)
            assert near(tables.time(tables.julian(there)), there)
    leap = datetime(2024, 2, 29, 12, tzinfo=timezone.utc)
    assert tables.time(tables.julian(leap)) == leap
    with pytest.raises(ValueError, match="none of the years 1 to 9999"):
        tables.time(1e9)
    before = tables.julian(T0)
    assert tables.next_julian(before, T0) > before
    assert tables.time(tables.next_julian(before, T0 - timedelta(days=1))) > tables.time(before)
