"""What a row of the speed table is, what one measurement gives, and what a target asks.

Every value is "less is better" (time or memory for one operation), so that "2 x" always means
half of the other's time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from harness.path import SUBJECT, Probe
from harness.peers import PEERS, Peer

C_SUBJECT = "liblooplite"

# How a user of the standard library, of aiosqlite, ... would write it; see peers.py.
EVERYBODY = ("sqlite3", "aiosqlite", "apsw", "rapsqlite", "pyturso", SUBJECT)
ASYNC_ONLY = ("aiosqlite", "apsw", "rapsqlite", "pyturso", SUBJECT)


@dataclass(frozen=True)
class Sample:
    """One measurement: one row, one peer, one repetition."""

    value: float
    details: Mapping[str, float] = field(default_factory=dict)
    # Share of the operations that ran on the loop; None where nothing counts them.
    inline: float | None = None
    # Parts of the row that this peer could not do. A row with such a part is never "met".
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ratio:
    """At least `times` as fast as `peer`, by the median of the repetitions' ratios."""

    peer: str
    times: float


@dataclass(frozen=True)
class Bound:
    """The median of a detail (of the value itself when `key` is empty) is at most `most`."""

    key: str
    most: float
    unit: str


@dataclass(frozen=True)
class Extra:
    """At most `most` above what `peer` has."""

    peer: str
    most: float
    unit: str


Target = Ratio | Bound | Extra


@dataclass
class Context:
    """What a row's function is given, in a child process of its own."""

    peer_name: str
    probe: Probe
    database: Path  # an own copy, or a large file that is only read
    folder: Path  # empty, deleted afterwards
    quick: bool

    @cached_property
    def peer(self) -> Peer:
        """The library to be measured, imported when it is asked for."""
        peer = PEERS[self.peer_name]()
        peer.load()
        return peer

    def scale(self, full: float, quick: float) -> float:
        """Seconds or amounts: `full`, or `quick` under --quick."""
        return quick if self.quick else full

    def count(self, full: int, quick: int) -> int:
        """As scale(), for whole numbers."""
        return quick if self.quick else full


@dataclass(frozen=True)
class Row:
    """One row of the table."""

    name: str
    title: str
    unit: str
    run: Callable[[Context], Awaitable[Sample]]
    database: Literal["items-wal", "items-delete", "large", "none"] = "items-wal"
    peers: tuple[str, ...] = EVERYBODY
    targets: tuple[Target, ...] = ()
    # "inline": the row means the path on the loop, and is not met when it was not taken.
    path: Literal["inline", "any"] = "any"
    # Whether "so many times as fast" says anything about this value.
    ratios: bool = True
    # Seconds after which a measurement is given up.
    limit: float = 120.0
    note: str = ""

    @property
    def subject(self) -> str:
        """The peer that the targets are about."""
        return C_SUBJECT if C_SUBJECT in self.peers else SUBJECT
