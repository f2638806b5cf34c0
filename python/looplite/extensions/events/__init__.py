"""A durable job queue, or event channel, in a table: docs/guide/queue.md.

Events are published into named channels, leased by consumers, acknowledged or tried again, and set
aside when they failed too often. They survive the end of every process, and are delivered at least
once.
"""

from looplite.extensions.events.channel import AsyncEventChannel, AsyncEventListener
from looplite.extensions.events.model import EventChannelError, EventMessage, exponential
from looplite.extensions.events.queue import AsyncTableEventQueue
from looplite.extensions.events.schema import create_statements, drop_statements

__all__ = [
    "AsyncEventChannel",
    "AsyncEventListener",
    "AsyncTableEventQueue",
    "EventChannelError",
    "EventMessage",
    "create_statements",
    "drop_statements",
    "exponential",
]
