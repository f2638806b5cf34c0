"""What the commands have in common: how they end, how long they wait."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

BROKEN_PIPE = 128 + 13
INTERRUPTED = 128 + 2


def seconds(text: str) -> float:
    """A time to wait, from the command line."""
    value = float(text)
    if not 0 <= value <= 1e6:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to 1000000 seconds")
    return value


def ended(work: Callable[[], int]) -> int:
    """The exit status of `work`; of Ctrl-C, 130; where the reader of the output has gone, 141."""
    try:
        status = work()
        sys.stdout.flush()
    except BrokenPipeError:
        # Nobody is left to be told, also not when Python flushes at its exit.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED
    return status
