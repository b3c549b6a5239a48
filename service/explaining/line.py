"""Who is explained next: a bounded line, those who wait with a reply first, then in order of arrival."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from dataclasses import dataclass, field
from enum import IntEnum

from guards.errors import Overloaded
from service.explaining.work import Result, Work


class Priority(IntEnum):
    """The lower goes first."""

    VIEW = 0  # part of a reply that is otherwise ready
    CALL = 1


@dataclass(order=True, slots=True)
class Waiting:
    """`done` is cancelled when its caller has left. `deadline` in `time.monotonic()` seconds."""

    priority: Priority
    number: int
    work: Work = field(compare=False)
    deadline: float = field(compare=False)
    done: asyncio.Future[Result] = field(compare=False)


class Line:
    """Lives on one event loop; one task takes."""

    def __init__(self, max_waiting: int) -> None:
        self._max_waiting = max_waiting
        self._heap: list[Waiting] = []
        self._numbers = itertools.count()
        self._filled = asyncio.Event()

    @property
    def depth(self) -> int:
        return len(self._heap)

    def join(self, work: Work, priority: Priority, deadline: float, retry_after_s: float) -> Waiting:
        """Raises Overloaded when the line is full."""
        if len(self._heap) >= self._max_waiting:
            raise Overloaded("as many explanations wait as may; try again, or raise explanations.max_waiting",
                             retry_after_s)  # fmt: skip
        waiting = Waiting(priority, next(self._numbers), work, deadline, asyncio.get_running_loop().create_future())
        heapq.heappush(self._heap, waiting)
        self._filled.set()
        return waiting

    def leave(self, waiting: Waiting) -> None:
        """Frees the place of one that is still in the line."""
        waiting.done.cancel()
        if waiting in self._heap:
            self._heap.remove(waiting)
            heapq.heapify(self._heap)

    async def take(self) -> Waiting:
        while not self._heap:
            self._filled.clear()
            await self._filled.wait()
        return heapq.heappop(self._heap)

    def empty(self) -> list[Waiting]:
        """Everybody, who are then no longer in it."""
        everybody, self._heap = self._heap, []
        return everybody
