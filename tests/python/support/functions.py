"""What tests of functions called by SQL share."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable

ROWS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 100) SELECT {} FROM c"
where: contextvars.ContextVar[str] = contextvars.ContextVar("where", default="nowhere")


class Sum:
    """An aggregate, and a window function."""

    def __init__(self) -> None:
        self.total = 0

    def step(self, *values: int) -> None:
        self.total += sum(values)

    def inverse(self, *values: int) -> None:
        self.total -= sum(values)

    def value(self) -> int:
        return self.total

    def finalize(self) -> int:
        return self.total


def on_loop() -> Callable[[], bool]:
    """Tells whether it is called by the thread that made it."""
    mine = threading.get_ident()
    return lambda: threading.get_ident() == mine
