"""Who gets in: a bounded number at work, a bounded number waiting, everybody else refused at once.

grpc.aio's own `maximum_concurrent_rpcs` miscounts in releases in use, and cannot say when to retry.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from guards.errors import DeadlineExceeded, Overloaded

_SMOOTHING = 0.1  # weight of the newest service time in the estimate


class Admission:
    """`max_in_flight` requests work at once and `max_waiting` wait for a place.

    `on_busy` hears True when the first one comes to work, and False when the last one has left.
    """

    def __init__(self, max_in_flight: int, max_waiting: int, on_busy: Callable[[bool], None] = lambda _: None) -> None:
        self._places = asyncio.Semaphore(max_in_flight)
        self._max_in_flight = max_in_flight
        self._max_waiting = max_waiting
        self._service_time_s = 0.05  # estimate; the first requests correct it
        self._on_busy = on_busy
        self.waiting = 0
        self.in_flight = 0

    @asynccontextmanager
    async def place(self, deadline: float) -> AsyncIterator[float]:
        """A place at work; yields the seconds waited for it.

        Raises Overloaded when the queue is full, and DeadlineExceeded when the deadline passes first.
        """
        if self._places.locked() and self.waiting >= self._max_waiting:
            raise Overloaded("as many requests are at work and waiting as are admitted", self._retry_after_s())
        waited_s = await self._enter(deadline)
        started = time.monotonic()
        self.in_flight += 1
        if self.in_flight == 1:
            self._on_busy(True)
        try:
            yield waited_s
        finally:
            self.in_flight -= 1
            if self.in_flight == 0:
                self._on_busy(False)
            self._places.release()
            self._service_time_s += _SMOOTHING * (time.monotonic() - started - self._service_time_s)

    async def _enter(self, deadline: float) -> float:
        started = time.monotonic()
        if not self._places.locked() and started < deadline:
            await self._places.acquire()  # returns at once
            return 0.0
        self.waiting += 1
        try:
            async with asyncio.timeout(deadline - started):
                await self._places.acquire()
        except TimeoutError:
            raise DeadlineExceeded("the deadline passed while the request was waiting for a place") from None
        finally:
            self.waiting -= 1
        return time.monotonic() - started

    def _retry_after_s(self) -> float:
        """About when a place will be free: the queue's length at the rate requests leave."""
        return max(0.05, self._service_time_s * (self.waiting + 1) / self._max_in_flight)
