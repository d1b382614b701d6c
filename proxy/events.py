"""What happened, live: the feed behind ``GET /v1/events``.

A subscriber has a bounded queue of its own.  When it reads too slowly the newest events are
dropped and counted, for it and in all: nobody who watches can slow the traffic or grow the memory.
All of it belongs to the event loop: call it from the loop's thread only.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final

QUEUE: Final = 1024  # events that may wait for one subscriber
SUBSCRIBERS: Final = 16  # at once


class TooManySubscribers(Exception):
    """All places are taken (``SUBSCRIBERS``)."""


class Subscription:
    """One reader's queue: ``await next()`` gives ``(id, kind, fields)``."""

    def __init__(self, size: int) -> None:
        self.dropped = 0  # events that this reader missed
        self._size = size
        self._queue: deque[tuple[int, str, dict[str, Any]]] = deque()
        self._ready = asyncio.Event()

    def put(self, number: int, kind: str, fields: dict[str, Any]) -> bool:
        """Queue an event; False when the queue is full and the event was dropped."""
        if len(self._queue) >= self._size:
            self.dropped += 1
            return False
        self._queue.append((number, kind, fields))
        self._ready.set()
        return True

    async def next(self) -> tuple[int, str, dict[str, Any]]:
        """Wait for the next event."""
        while not self._queue:
            self._ready.clear()
            await self._ready.wait()
        return self._queue.popleft()


class Events:
    """The feed.  ``wanted`` is False while nobody reads: then publishing is not worth a call."""

    def __init__(self, queue: int = QUEUE, subscribers: int = SUBSCRIBERS) -> None:
        self.wanted = False
        self.dropped = 0  # in all, over all subscribers
        self.published = 0
        self.changed: list[Callable[[], None]] = []  # called when ``wanted`` may have changed
        self._queue = queue
        self._most = subscribers
        self._subscriptions: list[Subscription] = []

    @property
    def subscribers(self) -> int:
        """How many read now."""
        return len(self._subscriptions)

    def publish(self, kind: str, fields: dict[str, Any]) -> None:
        """Hand an event to everybody who reads.  ``fields`` must not be changed afterwards."""
        self.published += 1
        for subscription in self._subscriptions:
            if not subscription.put(self.published, kind, fields):
                self.dropped += 1

    def subscribe(self) -> Subscription:
        """Begin to read; give it back with ``unsubscribe``.  Raises TooManySubscribers."""
        if len(self._subscriptions) >= self._most:
            raise TooManySubscribers(f"there are {self._most} readers of events already")
        subscription = Subscription(self._queue)
        self._subscriptions.append(subscription)
        self._tell()
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Stop reading; harmless when it was done before."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)
            self._tell()

    def _tell(self) -> None:
        self.wanted = bool(self._subscriptions)
        for callback in self.changed:
            callback()
