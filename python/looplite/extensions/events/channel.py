"""A channel with the calls of SQLSpec's: publish, iterate, listen; over the queue of `queue`.

A listener runs a handler for each event. While it runs, the lease is extended at a third of its
length, so a handler may take its time; a handler that returned acknowledges, one that raised is
tried again later. A listener that is stopped takes no more and lets handlers finish; one whose task
is cancelled cancels them, and gives their events back.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, TypeAlias

from looplite.extensions.events.model import EventChannelError, EventMessage
from looplite.extensions.events.queue import AsyncTableEventQueue, Source

Handler: TypeAlias = "Callable[[EventMessage], Awaitable[object] | object]"

_logger = logging.getLogger("looplite.events")

# What extension_config["events"] may say, and what it is to the queue.
_OPTIONS = {
    "queue_table": "table",
    "lease_seconds": "lease_seconds",
    "poll_interval": "poll_interval",
    "event_poll_interval": "poll_interval",
    "max_attempts": "max_attempts",
}


class AsyncEventListener:
    """A handler that is given the events of a channel."""

    def __init__(
        self,
        queue: AsyncTableEventQueue,
        channel: str,
        handler: Handler,
        concurrency: int,
        auto_ack: bool,
    ) -> None:
        self.id = uuid.uuid4().hex
        self.channel = channel
        self._queue = queue
        self._handler = handler
        self._auto_ack = auto_ack
        self._stopping = False
        self._idle: set[asyncio.Task[None]] = set()
        self._tasks = [asyncio.ensure_future(self._consume()) for _ in range(concurrency)]
        self.task: asyncio.Future[Any] = asyncio.gather(*self._tasks, return_exceptions=True)
        """Ends when the listener has; cancel it to leave handlers in their middle."""

    @property
    def running(self) -> bool:
        """Whether events are still taken or handled."""
        return any(not task.done() for task in self._tasks)

    async def stop(self) -> None:
        """Takes no more events, and waits for the handlers that run."""
        self._stopping = True
        for task in self._idle:
            task.cancel()
        await asyncio.wait(self._tasks)

    async def _consume(self) -> None:
        me = asyncio.current_task()
        assert me is not None
        while not self._stopping:
            self._idle.add(me)
            try:
                event = await self._queue.get(self.channel)
            except EventChannelError:
                return  # it was closed
            except Exception:
                _logger.exception("cannot take events of the channel %r", self.channel)
                await asyncio.sleep(self._queue.poll_interval)
                continue
            finally:
                self._idle.discard(me)
            try:
                await self._handle(event)
            except Exception:
                # It stays leased, and comes again when the lease is over.
                _logger.exception("event %s was not acknowledged", event.event_id)

    async def _handle(self, event: EventMessage) -> None:
        work = asyncio.ensure_future(self._call(event))
        try:
            kept = await self._keep_leased(event, work)
        except asyncio.CancelledError:
            await _ended(work)
            if work.cancelled():
                await self._queue.release(event)
            else:
                await self._conclude(event, work)
            raise
        if not kept:
            await _ended(work)
            _logger.warning(
                "event %s took longer than its lease and was given to another consumer",
                event.event_id,
            )
            return
        await self._conclude(event, work)

    async def _call(self, event: EventMessage) -> None:
        result = self._handler(event)
        if inspect.isawaitable(result):
            await result

    async def _keep_leased(self, event: EventMessage, work: asyncio.Future[None]) -> bool:
        while True:
            done, _ = await asyncio.wait([work], timeout=self._queue.lease_seconds / 3)
            if done:
                return True
            if not await self._queue.extend(event) and not work.done():
                return False

    async def _conclude(self, event: EventMessage, work: asyncio.Future[None]) -> None:
        error = asyncio.CancelledError() if work.cancelled() else work.exception()
        if error is None:
            if self._auto_ack:
                await self._queue.ack(event)
            return
        _logger.warning(
            "the handler of event %s failed, attempt %d of %d: %r",
            event.event_id,
            event.attempts,
            event.max_attempts,
            error,
        )
        await self._queue.nack(event, error=error)


async def _ended(work: asyncio.Future[None]) -> None:
    """Cancels it and waits until it has ended."""
    work.cancel()
    await asyncio.wait([work])


class EventIterator:
    """The events of a channel as they come, leased; acknowledge each."""

    def __init__(self, queue: AsyncTableEventQueue, channel: str) -> None:
        self._queue = queue
        self._channel = channel

    def __aiter__(self) -> EventIterator:
        return self

    async def __anext__(self) -> EventMessage:
        try:
            return await self._queue.get(self._channel)
        except EventChannelError:
            raise StopAsyncIteration from None


class AsyncEventChannel:
    """Publishes events and hands them out.

    It is made of a path, of a configuration with ``provide_connection()`` (whose
    ``extension_config["events"]`` may have queue_table, lease_seconds, poll_interval and
    max_attempts), or of a queue; options are those of `AsyncTableEventQueue`.
    """

    def __init__(self, config: Source | AsyncTableEventQueue, **options: Any) -> None:
        if isinstance(config, AsyncTableEventQueue):
            if options:
                raise TypeError("options belong to the queue, which is there already")
            self._queue = config
        else:
            self._queue = AsyncTableEventQueue(config, **{**_settings(config), **options})
        self._listeners: dict[str, AsyncEventListener] = {}

    @property
    def queue(self) -> AsyncTableEventQueue:
        """The queue behind it, which has more calls."""
        return self._queue

    @property
    def backend_name(self) -> str:
        """How events travel: through a table."""
        return "table_queue"

    async def publish(
        self, channel: str, payload: Any, metadata: Any = None, **options: Any
    ) -> str:
        """Adds an event; see `AsyncTableEventQueue.publish()` for the options."""
        return await self._queue.publish(channel, payload, metadata, **options)

    async def publish_many(
        self, events: Iterable[tuple[str, Any] | tuple[str, Any, Any]]
    ) -> list[str]:
        """Adds events, all or none."""
        return await self._queue.publish_many(events)

    def iter_events(self, channel: str) -> EventIterator:
        """``async for event in channel.iter_events("mail")``; each is to be acknowledged."""
        return EventIterator(self._queue, channel)

    def listen(
        self, channel: str, handler: Handler, *, concurrency: int = 1, auto_ack: bool = True
    ) -> AsyncEventListener:
        """Runs the handler for each event from now on, `concurrency` of them at a time.

        With ``auto_ack=False`` the handler acknowledges itself.
        """
        if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
            raise ValueError(f"concurrency must be an int of at least 1, not {concurrency!r}")
        if not callable(handler):
            raise TypeError(f"a handler must be callable, and is {type(handler).__name__}")
        listener = AsyncEventListener(self._queue, channel, handler, concurrency, auto_ack)
        self._listeners[listener.id] = listener
        return listener

    async def stop_listener(self, listener_id: str) -> None:
        """Stops one; a listener that is not there is stopped."""
        listener = self._listeners.pop(listener_id, None)
        if listener is not None:
            await listener.stop()

    async def ack(self, event: EventMessage | str) -> bool:
        """The event is done."""
        return await self._queue.ack(event)

    async def nack(self, event: EventMessage | str, **options: Any) -> bool:
        """The event failed, and is tried again."""
        return await self._queue.nack(event, **options)

    async def shutdown(self) -> None:
        """Stops all listeners and closes the queue."""
        for listener in list(self._listeners):
            await self.stop_listener(listener)
        await self._queue.close()

    async def __aenter__(self) -> AsyncEventChannel:
        await self._queue.open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.shutdown()


def _settings(config: Any) -> dict[str, Any]:
    """Options of the queue that a configuration has."""
    extensions = getattr(config, "extension_config", None)
    given = extensions.get("events", {}) if isinstance(extensions, Mapping) else {}
    made: dict[str, Any] = {}
    for key, value in given.items():
        if key not in _OPTIONS:
            known = ", ".join(map(repr, _OPTIONS))
            raise EventChannelError(
                f'extension_config["events"] has no key {key!r}; those it has are {known}'
            )
        made[_OPTIONS[key]] = value
    return made
