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


def _give_up_output() -> None:
    """What is left of it goes nowhere, also when Python flushes at its exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def ended(work: Callable[[], int]) -> int:
    """The exit status of `work`; of Ctrl-C, 130; where the reader of the output has gone, 141."""
    try:
        status = work()
        sys.stdout.flush()
    except BrokenPipeError:
        _give_up_output()  # nobody is left to be told
        return BROKEN_PIPE
    except OSError as error:  # a full disk
        _give_up_output()
        print(f"cannot write the output: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return status
