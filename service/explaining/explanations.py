"""Explanations, one at a time in the child process, for whoever waits in the line."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

from guards.errors import DeadlineExceeded, Unavailable, WardgateError
from service.config import ExplanationSettings
from service.explaining.line import Line, Priority, Waiting
from service.explaining.work import HeadWork, Result, Work
from service.preemption import Preemption

log = logging.getLogger(__name__)

_LEAST_S = 0.02  # a budget below is none
_SMOOTHING = 0.2  # weight of the newest explanation in the estimate of the next


class Asked(Protocol):
    """The child process, or what stands for it; see service/explaining/process.py."""

    def start(self) -> None: ...

    def ask(self, work: Work, limit_s: float) -> Result: ...

    def stop(self) -> None: ...

    def go_on(self) -> None: ...

    def end(self) -> None: ...

    def close(self) -> None: ...


class Explanations:
    """Lives on one event loop; works while `run` runs."""

    def __init__(self, settings: ExplanationSettings, process: Asked) -> None:
        self._settings = settings
        self._line = Line(settings.max_waiting)
        self._process = process
        self.preemption = Preemption(settings.idle_s, settings.min_share)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="explain")
        self._running = False
        self._typical_s = 1.0
        self.working = False

    @property
    def depth(self) -> int:
        """Explanations that wait."""
        return self._line.depth

    async def explain(self, work: Work, priority: Priority, deadline: float) -> Result:
        """`deadline` in `time.monotonic()` seconds. Raises Overloaded, Unavailable, DeadlineExceeded, InvalidInput,
        UnknownName or PreconditionFailed."""
        if not self._running:
            raise Unavailable("explanations are not running: the server starts or stops")
        waiting = self._line.join(work, priority, deadline, self._typical_s * (self.depth + 1))
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await waiting.done
        except TimeoutError:
            raise DeadlineExceeded("the explanation was not done in time; the line is long, or its budget") from None
        finally:
            self._line.leave(waiting)

    async def run(self) -> None:
        """Until cancelled; then nobody is left waiting and the child is gone."""
        self._running = True
        try:
            if self._settings.preload:
                await self._preload()
            while True:
                await self._serve(await self._line.take())
        finally:
            self._running = False
            self._process.end()  # what is at work raises, so that its thread ends
            for waiting in self._line.empty():
                _fail(waiting, Unavailable("the server is stopping; try another replica"))
            await asyncio.to_thread(self._thread.shutdown)
            await asyncio.to_thread(self._process.close)

    async def _preload(self) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._process.start)
        except WardgateError as error:  # the first explanation tries again
            log.warning("explaining process not preloaded", extra={"fault": str(error)})

    async def _serve(self, waiting: Waiting) -> None:
        if waiting.done.done():
            return
        self.working = True
        started = time.monotonic()
        left_s = waiting.deadline - started
        work = waiting.work
        if isinstance(work, HeadWork):
            work = replace(work, budget_s=max(_LEAST_S, min(work.budget_s, left_s)))
        budget_s = work.budget_s if isinstance(work, HeadWork) else self._settings.max_budget_s
        asking = asyncio.get_running_loop().run_in_executor(
            self._thread, self._process.ask, work, budget_s + self._settings.hang_s
        )
        try:
            with self._making_way(waiting.priority):
                result = await asking
        except asyncio.CancelledError:
            self._process.end()
            _fail(waiting, Unavailable("the server is stopping; try another replica"))
            raise
        except Exception as error:  # one explanation may fail, the loop may not
            _fail(waiting, error)
        else:
            self._typical_s += _SMOOTHING * (time.monotonic() - started - self._typical_s)
            if not waiting.done.done():
                waiting.done.set_result(result)
        finally:
            self.working = False

    @contextmanager
    def _making_way(self, priority: Priority) -> Iterator[None]:
        """For live requests; a view is part of one, which waits for it."""
        if priority is Priority.VIEW:
            yield
            return
        self.preemption.attach(self._process)
        try:
            yield
        finally:
            self.preemption.detach()
            self._process.go_on()


def _fail(waiting: Waiting, error: Exception) -> None:
    if not waiting.done.done():
        waiting.done.set_exception(error)
