"""Live requests go first: while one is at work, a process that can wait (of probes, of explanations) is stopped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

_SLICE_S = 0.1  # of a turn that a service without rest gives


class RunningClock:
    """Seconds for which a process was not stopped."""

    def __init__(self) -> None:
        self._going_since: float | None = time.monotonic()
        self._gone_s = 0.0

    @property
    def stopped(self) -> bool:
        return self._going_since is None

    @property
    def running_s(self) -> float:
        return self._gone_s + (0.0 if self._going_since is None else time.monotonic() - self._going_since)

    def stop(self) -> None:
        self._gone_s, self._going_since = self.running_s, None

    def go_on(self) -> None:
        self._going_since = time.monotonic()


class Stoppable(Protocol):
    def stop(self) -> None: ...

    def go_on(self) -> None: ...


class Preemption:
    """Told by `busy` when the first live request begins and the last one ends; both must be on the event loop.

    The process is stopped at once, and goes on after `idle_s` without a request. Where requests never rest so long, it
    gets turns of a tenth of a second, `min_share` of the time together; 0 gives none.
    """

    def __init__(self, idle_s: float, min_share: float, on_stop: Callable[[], None] = lambda: None) -> None:
        self._idle_s = idle_s
        self._wait_s = _SLICE_S / min_share - _SLICE_S if min_share else None
        self._on_stop = on_stop
        self._process: Stoppable | None = None
        self._busy = False
        self._waits = False  # the process has made way; turns do not end that
        self._rest: asyncio.TimerHandle | None = None  # until there was no request for long enough
        self._turn: asyncio.TimerHandle | None = None  # until a turn begins, or ends

    def attach(self, process: Stoppable) -> None:
        """Of one process at a time."""
        self.detach()
        self._process = process
        if self._busy or self._rest:
            self._stop()

    def detach(self) -> None:
        self._process, self._waits = None, False
        self._end_turns()

    def busy(self, is_busy: bool) -> None:
        self._busy = is_busy
        if self._rest:
            self._rest.cancel()
            self._rest = None
        if not is_busy:
            self._rest = asyncio.get_running_loop().call_later(self._idle_s, self._rested)
        elif self._process and not self._waits:
            self._stop()

    def _rested(self) -> None:
        self._rest, self._waits = None, False
        self._end_turns()
        if self._process:
            self._process.go_on()

    def _stop(self) -> None:
        assert self._process is not None
        self._waits = True
        self._process.stop()
        self._on_stop()
        if self._wait_s is not None:
            self._turn = asyncio.get_running_loop().call_later(self._wait_s, self._begin_turn)

    def _begin_turn(self) -> None:
        assert self._process is not None
        self._process.go_on()
        self._turn = asyncio.get_running_loop().call_later(_SLICE_S, self._stop)

    def _end_turns(self) -> None:
        if self._turn:
            self._turn.cancel()
            self._turn = None
