"""Type adapters by properties: what goes in comes out, and recognition loses nothing."""

from __future__ import annotations

import asyncio
import datetime
import decimal
import json
import string
import uuid
from collections.abc import Sequence
from typing import Any

import looplite
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from looplite._core import Types
from looplite.utils.serializers import from_json, to_json
from support import looplite_only

pytestmark = looplite_only

few = settings(max_examples=60, deadline=None)

BACKENDS: dict[str, Types] = {
    "default": Types(),
    "json": Types(json_serializer=json.dumps, json_deserializer=json.loads),
    "compact": Types(
        json_serializer=lambda value: json.dumps(value, separators=(",", ":"), ensure_ascii=False),
        json_deserializer=json.loads,
    ),
}

zones = st.one_of(
    st.none(),
    st.just(datetime.timezone.utc),
    st.timedeltas(
        datetime.timedelta(hours=-23, minutes=-59, seconds=-59, microseconds=-999999),
        datetime.timedelta(hours=23, minutes=59, seconds=59, microseconds=999999),
    ).map(datetime.timezone),
)
stamps = st.datetimes(timezones=zones)
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(), max_size=8)
)
documents = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
).filter(lambda value: isinstance(value, (dict, list)))


def same(a: Any, b: Any) -> bool:
    """Equal, of one class, at every depth; 0.0 is not -0.0."""
    if type(a) is not type(b):
        return False
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in list(a))
    if isinstance(a, float):
        return bool(a.hex() == b.hex())
    if isinstance(a, (datetime.datetime, datetime.time)):
        return bool(a == b) and a.utcoffset() == b.utcoffset()
    if isinstance(a, decimal.Decimal):
        return bool(a.as_tuple() == b.as_tuple())
    return bool(a == b)


def through(declared: str, values: Sequence[Any], types: Types | None = None) -> list[Any]:
    """Stored and read back by the adapters."""

    async def main() -> list[Any]:
        async with looplite.connect(":memory:", isolation_level=None) as db:
            db._types = types or BACKENDS["default"]
            await db.execute(f"CREATE TABLE t(v {declared})")
            await db.executemany("INSERT INTO t VALUES (?)", [(value,) for value in values])
            rows: Any = await db.execute_fetchall("SELECT v FROM t ORDER BY rowid")
            return [row["v"] for row in rows]

    return asyncio.run(main())


def check_same(declared: str, values: Sequence[Any], types: Types | None = None) -> None:
    found = through(declared, values, types)
    for before, after in zip(values, found, strict=True):
        assert same(before, after), (before, after)


def stored_texts(texts: Sequence[str], types: Types) -> tuple[list[Any], list[Any]]:
    """Texts as they are read with recognition on, and what storing that again has stored."""

    async def main() -> tuple[list[Any], list[Any]]:
        async with looplite.connect(":memory:", isolation_level=None) as db:
            db._types = types
            await db.execute("CREATE TABLE t(v)")
            await db.executemany("INSERT INTO t VALUES (?)", [(text,) for text in texts])
            rows: Any = await db.execute_fetchall("SELECT v FROM t ORDER BY rowid")
            read = [row["v"] for row in rows]
            await db.execute("CREATE TABLE again(v)")
            await db.executemany("INSERT INTO again VALUES (?)", [(value,) for value in read])
            plain = await db.cursor()
            plain._types = None
            await plain.execute("SELECT v FROM again ORDER BY rowid")
            return read, [value for (value,) in await plain.fetchall()]

    return asyncio.run(main())


# ---- what goes in comes out ----------------------------------------------------------------------


@few
@given(st.lists(stamps, min_size=1, max_size=20))
@example([datetime.datetime.min, datetime.datetime.max])
@example([datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(seconds=-1)))])
def test_datetimes(values: list[datetime.datetime]) -> None:
    for declared in ("DATETIME", "timestamp(3)", "", "TEXT"):
        check_same(declared, values)


@few
@given(st.lists(st.dates(), min_size=1), st.lists(st.times(), min_size=1), zones)
def test_dates_and_times(
    dates: list[datetime.date], times: list[datetime.time], zone: datetime.tzinfo | None
) -> None:
    check_same("DATE", dates)
    check_same("TIME", [value.replace(tzinfo=zone) for value in times])


@few
@given(st.lists(st.uuids(), min_size=1))
def test_uuids(values: list[uuid.UUID]) -> None:
    for declared in ("UUID", "", "TEXT"):
        found = through(declared, values)
        assert found == values
        for before, after in zip(values, found, strict=True):
            assert (hash(before), str(before), before.is_safe) == (
                hash(after),
                str(after),
                after.is_safe,
            )


@few
@given(st.lists(st.decimals() | st.decimals(places=40), min_size=1))
@example([decimal.Decimal(text) for text in ("NaN", "sNaN12", "-Infinity", "-0E-400", "1E+999999")])
def test_decimals(values: list[decimal.Decimal]) -> None:
    check_same("DECIMAL TEXT(60, 40)", values)


@few
@given(st.lists(st.integers(-(10**15) + 1, 10**15 - 1), min_size=1), st.integers(0, 8))
@example([6404779], 6)
def test_decimals_of_fifteen_digits_in_a_column_of_numbers(values: list[int], places: int) -> None:
    numbers = [decimal.Decimal(value).scaleb(-places) for value in values]
    assert through("DECIMAL(15, 8)", numbers) == numbers


@few
@given(st.lists(st.booleans(), min_size=1))
def test_booleans(values: list[bool]) -> None:
    check_same("BOOLEAN", values)
    assert through("", values) == [int(value) for value in values]


@few
@given(st.lists(documents, min_size=1, max_size=5))
@example([{}, [], [[]], {"": {}}, [2**63, -(2**63) - 1, 2**64, 10**100], [0.1, -0.0, 5e-324, 1e22]])
@example([["\ud800"], {"\udfff": 1}, ["\0", "\x7f", "\u2028", "\U0001f600", '"\\/']])
def test_json(values: list[Any]) -> None:
    for types in (BACKENDS["default"], BACKENDS["json"]):
        check_same("JSON", values, types)
    check_same("", values)


def test_json_as_deep_as_it_gets() -> None:
    deep: list[Any] = []
    for _ in range(200):
        deep = [deep]
    check_same("JSON", [deep])
    check_same("", [deep])


# ---- recognition ---------------------------------------------------------------------------------

digits = st.text("0123456789", max_size=3)
near_stamps = st.builds(
    lambda stamp, cut, more: (stamp.isoformat()[:cut] if cut else stamp.isoformat()) + more,
    stamps,
    st.none() | st.integers(5, 40),
    st.sampled_from(
        ["", "Z", "z", ".5", ".000000", ":00", "+00:00", "-00:00", "+00:00:00", " ", "0"]
    ),
)
near_uuids = st.builds(
    lambda value, at, char: str(value)[:at] + char + str(value)[at + 1 :],
    st.uuids(),
    st.integers(0, 35),
    st.sampled_from("0aAgG-é {"),
)
near_json = st.builds(
    lambda value, indent, ascii_, at, char: (lambda text: text[:at] + char + text[at:])(
        json.dumps(value, indent=indent, ensure_ascii=ascii_)
    ),
    documents,
    st.none() | st.integers(0, 2),
    st.just(True),
    st.integers(0, 20),
    st.sampled_from(["", " ", "0", ",", "\\", '"', "e1", ".0", "NaN", "[", "}", "\0"]),
)
json_like = st.text('[]{}":,\\ 0123456789eE+-.nultrfasNIy\n', max_size=24).map(
    lambda inner: "[" + inner + "]"
)
texts = (
    st.text(st.characters(exclude_categories=["Cs"]))
    | st.text(string.printable)
    | near_stamps
    | near_uuids
    | near_json
    | json_like
    | stamps.map(str)
    | stamps.map(datetime.datetime.isoformat)
    | st.uuids().map(str)
    | documents.map(to_json)
)


@settings(max_examples=150, deadline=None)
@given(st.lists(texts, min_size=1, max_size=30))
@example(
    ["", "{", "[]", "{}", "[1.0]", "[1.00]", "[-0]", "[1e5]", '{"a":1,"a":2}', "[NaN]", "[1e999]"]
)
@example(
    [
        f"[{2**64}]",
        f"[{2**63}]",
        "[" + "9" * 400 + "]",
        "[18446744073709551616.0]",
        "[" * 9000 + "]",
    ]
)
@example(
    [
        "2024-01-01T00:00:00",
        "2024-01-01T00:00:00Z",
        "2024-01-01T00:00:00.120",
        "2024-13-01T00:00:00",
    ]
)
@example(["[" * 5000 + "]" * 5000, '["\\ud800"]', '["\\u00e9"]', "[1]\0]", '["\x7f"]', "[\t]"])
@example(
    ["2024-01-01T00:00:00-00:00", "2024-01-01T00:00:00+00:00:00", "2024-01-01T00:00:00.000000"]
)
def test_any_text_that_is_read_and_stored_is_the_same_text(values: list[str]) -> None:
    for types in BACKENDS.values():
        read, again = stored_texts(values, types)
        assert again == values, (read, values)
    plain, _ = stored_texts(values, Types(sniff_text=False))
    assert plain == values


RECOGNISED: list[tuple[str, Any]] = [
    ('{"a":[1,2.5,null]}', {"a": [1, 2.5, None]}),
    ("[]", []),
    ("{}", {}),
    ('["é"]', ["é"]),
    ("0123abcd-ef01-4234-8567-89abcdef0123", uuid.UUID("0123abcd-ef01-4234-8567-89abcdef0123")),
    ("2024-02-29T23:59:58", datetime.datetime(2024, 2, 29, 23, 59, 58)),
    (
        "2024-02-29T23:59:58.000007+00:00",
        datetime.datetime(2024, 2, 29, 23, 59, 58, 7, datetime.timezone.utc),
    ),
]
NOT_RECOGNISED = [
    "",
    "1",
    "true",
    '"text"',
    "null",
    '{"a": 1}',
    "[1, 2]",
    " []",
    "[] ",
    '{"a":1,"a":1}',
    "[1.50]",
    "[01]",
    '["\\u0061"]',
    "[not json]",
    "0123ABCD-EF01-4234-8567-89ABCDEF0123",
    "0123abcdef01423485678 9abcdef0123",
    "{0123abcd-ef01-4234-8567-89abcdef0123}",
    "0123abcd-ef01-4234-8567-89abcdef012g",
    "2024-02-29",
    "2024-02-29 23:59:58",
    "2024-02-29T23:59",
    "2024-02-29T23:59:58Z",
    "2024-02-29T23:59:58.5",
    "2024-02-29T23:59:58.000000",
    "2024-02-29T23:59:58-00:00",
    "2024-02-29T23:59:58+0000",
    "2023-02-29T23:59:58",
    "2024-02-29T24:00:00",
    "12:00:00",
    "1.10",
]


@pytest.mark.parametrize("declared", ["", "TEXT", "VARCHAR(40)"])
def test_what_is_recognised(declared: str) -> None:
    check = [value for _, value in RECOGNISED]
    found = through(declared, [text for text, _ in RECOGNISED])
    assert all(map(same, found, check)), found
    assert through(declared, NOT_RECOGNISED) == NOT_RECOGNISED
    off = Types(sniff_text=False)
    assert through(declared, [text for text, _ in RECOGNISED], off) == [
        text for text, _ in RECOGNISED
    ]


def test_only_text_is_recognised() -> None:
    assert through("", [b"[]", 1, 1.5, None]) == [b"[]", 1, 1.5, None]


@few
@given(st.lists(st.binary(max_size=60), min_size=1))
def test_blobs_stay_what_they_are(values: list[bytes]) -> None:
    for declared in ("", "BLOB", "JSON", "UUID", "DATETIME", "DATE", "TIME", "BOOLEAN", "DECIMAL"):
        assert through(declared, values) == values


def test_text_factory_of_the_program_turns_recognition_off() -> None:
    async def main() -> None:
        async with looplite.connect(":memory:") as db:
            db._types = Types()
            db.text_factory = bytes
            await db.execute("CREATE TABLE t(a JSON, b)")
            await db.execute("INSERT INTO t VALUES ('[]', '[]')")
            assert await db.execute_fetchall("SELECT * FROM t") == [{"a": [], "b": b"[]"}]

    asyncio.run(main())


@pytest.mark.parametrize("error", [ValueError, RecursionError, KeyError, ZeroDivisionError])
def test_recognition_never_raises_what_a_deserializer_does(error: type[Exception]) -> None:
    def loads(text: str) -> Any:
        raise error("no")

    assert through("", ["[]"], Types(json_deserializer=loads)) == ["[]"]
    assert through("", ["[]"], Types(json_serializer=loads)) == ["[]"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, asyncio.CancelledError])
def test_what_ends_a_program_is_not_swallowed(error: type[BaseException]) -> None:
    def loads(text: str) -> Any:
        raise error

    with pytest.raises(error):
        through("", ["[]"], Types(json_deserializer=loads))


def test_json_that_a_deserializer_makes_something_else_of_stays_text() -> None:
    assert through("", ["[1]"], Types(json_deserializer=tuple)) == ["[1]"]
    assert through("", ["[1]"], Types(json_deserializer=lambda text: [2])) == ["[1]"]


@few
@given(st.lists(st.binary(max_size=50), min_size=1), st.sampled_from("[{2"))
def test_bytes_of_any_kind_as_text(values: list[bytes], first: str) -> None:
    """Text that is no UTF-8 is the error that it is without type adapters, or else the text."""

    async def main() -> None:
        async with looplite.connect(":memory:") as db:
            for value in values:
                raw = first.encode() + value + b"]"
                found = []
                for types in (None, Types(dict_rows=False)):
                    db._types = types
                    try:
                        ((text,),) = await db.execute_fetchall("SELECT CAST(? AS TEXT)", (raw,))
                        found.append(text if isinstance(text, str) else to_json(text))
                    except looplite.OperationalError as error:
                        found.append(str(error))
                assert found[0] == found[1]

    asyncio.run(main())


def test_from_json_reads_what_to_json_writes() -> None:
    assert from_json(to_json({"a": [1, "é"]})) == {"a": [1, "é"]}
