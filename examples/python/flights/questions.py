"""What a person would ask of a year of flights, and how the event loop fares meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import looplite

from .lateness import Lateness
from .text import heading, table


class Question(NamedTuple):
    text: str
    headers: tuple[str, ...]
    sql: str
    finish: Callable[[tuple[Any, ...]], tuple[Any, ...]] = tuple


def with_bar(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Add a bar as long as the mean delay, and write the hour as a time of day."""
    hour, flights, delay, late = row
    return f"{hour:02d}:00", flights, delay, late, "#" * round(delay)


QUESTIONS = (
    Question(
        "Which airlines leave late?",
        ("airline", "flights", "mean delay, min", "over 1 h, %", "worst, h"),
        """
        SELECT airlines.name, count(*), avg(dep_delay), 100.0 * avg(dep_delay > 60),
               max(dep_delay) / 60.0
        FROM flights JOIN airlines USING (carrier)
        WHERE dep_delay IS NOT NULL
        GROUP BY carrier ORDER BY 3 DESC LIMIT 8
        """,
    ),
    Question(
        "Which routes are the busiest?",
        ("from", "to", "flights", "a day", "airlines", "mean arrival delay, min"),
        """
        SELECT origin, dest || ' ' || coalesce(airports.name, ''), count(*), count(*) / 365.0,
               count(DISTINCT carrier), avg(arr_delay)
        FROM flights LEFT JOIN airports ON faa = dest
        GROUP BY origin, dest ORDER BY 3 DESC LIMIT 6
        """,
    ),
    Question(
        "Do rain and fog delay flights?",
        ("weather in the hour", "flights", "mean delay, min", "over 30 min, %", "cancelled, %"),
        """
        SELECT CASE WHEN precip >= 0.1 THEN 'heavy rain or snow'
                    WHEN precip > 0 THEN 'light rain or snow'
                    WHEN visib < 2 THEN 'dry, one sees less than 2 miles'
                    WHEN visib < 10 THEN 'dry, hazy'
                    ELSE 'dry and clear' END AS weather,
               count(*), avg(dep_delay), 100.0 * avg(dep_delay > 30),
               100.0 * avg(dep_time IS NULL)
        FROM flights JOIN weather USING (origin, time_hour)
        GROUP BY 1 ORDER BY 3
        """,
    ),
    Question(
        "How old are the planes on the longest routes?",
        ("route", "miles", "flights", "hours in the air", "mean age, years", "oldest"),
        """
        SELECT origin || ' to ' || dest, max(distance), count(*), avg(air_time) / 60.0,
               avg(2013 - planes.year), max(2013 - planes.year)
        FROM flights JOIN planes USING (tailnum)
        WHERE distance >= 2400
        GROUP BY origin, dest HAVING count(*) >= 100 ORDER BY 2 DESC LIMIT 6
        """,
    ),
    Question(
        "At which hour should one leave?",
        ("hour", "flights", "mean delay, min", "over 30 min, %", ""),
        """
        SELECT hour, count(*), avg(dep_delay), 100.0 * avg(dep_delay > 30)
        FROM flights WHERE dep_delay IS NOT NULL
        GROUP BY hour ORDER BY hour
        """,
        with_bar,
    ),
)


async def ask_all(path: Path) -> None:
    """Print each question with its answer."""
    async with looplite.connect(path, isolation_level=None) as db:
        await db.execute("PRAGMA query_only = 1")
        for question in QUESTIONS:
            async with Lateness() as late:
                started = time.perf_counter()
                async with db.execute(question.sql) as cursor:
                    rows = await cursor.fetchall()
                took = (time.perf_counter() - started) * 1e3
            heading(question.text)
            table(question.headers, [question.finish(tuple(row)) for row in rows])
            print(
                f"  ({took:.0f} ms, in which the event loop was never late by more than"
                f" {late.longest:.1f} ms)"
            )
