"""The table of a queue, and the statements on it.

An event is a row. Its state says who may take it:

    publish --> ready -----lease----> leased --ack--> (deleted)
                  ^                     |  |
                  |<--- time is over ---+  +--nack, lease is over--> waiting, or
    delay --> waiting                                                dead after max_attempts

`ready` rows are taken in the order of `seq`, that is in the order of publishing, by no clock: a
clock that is set back delays no event that was published without a delay. `waiting` rows become
ready, and `leased` rows that nobody acknowledged, when `due_at` has come; due rows are moved by
whoever looks next, within the same transaction.

Times are integers, microseconds since 1970 in UTC, by the clock of whoever writes: they have no
time zone and no summer time, and compare and index as numbers. ``datetime(due_at / 1e6,
'unixepoch')`` reads them. All processes that share a queue need clocks that agree to much less than
a lease.

`lease` counts how often the row was leased. It goes with the event to the consumer and back with
its acknowledgement, so one that comes too late, after the lease was given to another, is refused.
"""

from __future__ import annotations

from dataclasses import dataclass

from looplite.crud.sql import quote_identifier

DEFAULT_TABLE = "looplite_event_queue"

READY, WAITING, LEASED, DEAD = "ready", "waiting", "leased", "dead"

COLUMNS = (
    "seq, event_id, channel, payload_json, metadata_json, attempts, max_attempts, lease, due_at, "
    "created_at, last_error"
)


def create_statements(table: str = DEFAULT_TABLE) -> list[str]:
    """The table and its indexes, for programs that make their schema themselves."""
    name = quote_identifier(table)
    return [
        f"""CREATE TABLE IF NOT EXISTS {name}(
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  event_id TEXT NOT NULL UNIQUE,
  channel TEXT NOT NULL,
  payload_json TEXT NOT NULL,
  metadata_json TEXT,
  state TEXT NOT NULL CHECK (state IN ('ready', 'waiting', 'leased', 'dead')),
  due_at INTEGER,
  attempts INTEGER NOT NULL DEFAULT 0,
  max_attempts INTEGER NOT NULL,
  lease INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL,
  last_error TEXT
)""",
        f"CREATE INDEX IF NOT EXISTS {quote_identifier(table + '_ready')} ON {name}(channel, seq) "
        "WHERE state = 'ready'",
        f"CREATE INDEX IF NOT EXISTS {quote_identifier(table + '_due')} ON {name}(due_at) "
        "WHERE state IN ('waiting', 'leased')",
        f"CREATE INDEX IF NOT EXISTS {quote_identifier(table + '_dead')} ON {name}(channel, seq) "
        "WHERE state = 'dead'",
    ]


def drop_statements(table: str = DEFAULT_TABLE) -> list[str]:
    """What removes the queue, with all that is in it."""
    return [f"DROP TABLE IF EXISTS {quote_identifier(table)}"]


@dataclass(frozen=True)
class Statements:
    """The statements on one table. Every one is served by an index."""

    publish: str
    look: str
    overdue: str
    bury: str
    promote: str
    candidates: str
    take: str
    ack: str
    extend: str
    nack: str
    give_back: str
    find: str
    dead: str
    revive: str
    remove: str
    count: str


def statements(table: str) -> Statements:
    """Those on the table of that name."""
    t = quote_identifier(table)
    # The lease has to be the one that was given, or the acknowledgement is somebody else's.
    held = "event_id = :id AND state = 'leased' AND (:lease IS NULL OR lease = :lease)"
    return Statements(
        publish=f"INSERT INTO {t}(event_id, channel, payload_json, metadata_json, state, due_at, "
        "max_attempts, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        # Nothing is written while there is nothing to take: idle consumers hold up no writer.
        look=f"SELECT EXISTS (SELECT 1 FROM {t} WHERE state = 'ready' AND channel = :channel), "
        f"(SELECT min(due_at) FROM {t} WHERE state IN ('waiting', 'leased'))",
        overdue=f"SELECT EXISTS (SELECT 1 FROM {t} WHERE state IN ('waiting', 'leased') "
        "AND due_at <= :now)",
        # A consumer that dies with each attempt says nothing of it; its lease just ends.
        bury=f"UPDATE {t} SET state = 'dead', due_at = NULL, last_error = "
        "coalesce(last_error || '; then ', '') || 'the lease of the last attempt ended' "
        "WHERE state IN ('waiting', 'leased') AND due_at <= :now AND state = 'leased' "
        "AND attempts >= max_attempts",
        promote=f"UPDATE {t} SET state = 'ready', due_at = NULL "
        "WHERE state IN ('waiting', 'leased') AND due_at <= :now",
        candidates=f"SELECT {COLUMNS} FROM {t} WHERE state = 'ready' AND channel = :channel "
        "ORDER BY seq LIMIT :limit",
        take=f"UPDATE {t} SET state = 'leased', attempts = attempts + 1, lease = lease + 1, "
        "due_at = ? WHERE seq = ?",
        ack=f"DELETE FROM {t} WHERE {held}",
        extend=f"UPDATE {t} SET due_at = :due WHERE {held}",
        nack=f"UPDATE {t} SET state = :state, due_at = :due, last_error = :error WHERE {held}",
        give_back=f"UPDATE {t} SET state = 'ready', due_at = NULL, attempts = attempts - 1 "
        f"WHERE {held}",
        find=f"SELECT {COLUMNS} FROM {t} WHERE event_id = :id",
        dead=f"SELECT {COLUMNS} FROM {t} WHERE state = 'dead' AND channel = :channel "
        "ORDER BY seq LIMIT :limit",
        revive=f"UPDATE {t} SET state = 'ready', due_at = NULL, attempts = 0 "
        "WHERE event_id = :id AND state = 'dead'",
        remove=f"DELETE FROM {t} WHERE event_id = :id AND state != 'leased'",
        count=f"SELECT channel, state, count(*) FROM {t} GROUP BY channel, state "
        "ORDER BY channel, state",
    )
