"""Stops calling an upstream that does not answer, and lets one call through now and then to see.

Source: the circuit breaker of M. Nygard, Release It! (2007); consecutive failures only, one trial at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum


class Outcome(Enum):
    """What a call that raised says about the upstream."""

    ANSWERED = "answered"
    FAILED = "failed"
    UNKNOWN = "unknown"  # the caller left before it could tell


class CircuitOpen(Exception):
    """Not called: the upstream does not answer. `retry_after_s` is when it is tried again."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__("the circuit is open")
        self.retry_after_s = retry_after_s


class CircuitBreaker:
    """Opens after `failures` in a row, for `open_s`; then one trial decides. Belongs to one event loop."""

    def __init__(
        self,
        outcome_of: Callable[[BaseException], Outcome],
        *,
        failures: int = 5,
        open_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outcome_of = outcome_of
        self._failures = failures
        self._open_s = open_s
        self._clock = clock
        self._failed_in_a_row = 0
        self._open_until = 0.0  # in the clock's seconds; of meaning while open
        self._trying = False

    @property
    def is_open(self) -> bool:
        """Whether the upstream counts as gone; stays so until a trial is answered."""
        return self._failed_in_a_row >= self._failures

    @contextmanager
    def call(self) -> Iterator[None]:
        """Around one call. Raises CircuitOpen instead of letting it through."""
        trial = self._admit()
        outcome = Outcome.ANSWERED
        try:
            yield
        except BaseException as error:
            outcome = self._outcome_of(error)
            raise
        finally:
            self._record(outcome, trial)

    def _admit(self) -> bool:
        """Whether the call is a trial."""
        if not self.is_open:
            return False
        wait_s = self._open_until - self._clock()
        if wait_s > 0 or self._trying:
            raise CircuitOpen(max(wait_s, 0.1))
        self._trying = True
        return True

    def _record(self, outcome: Outcome, trial: bool) -> None:
        if trial:
            self._trying = False
        match outcome:
            case Outcome.ANSWERED:
                self._failed_in_a_row = 0
            case Outcome.FAILED:
                self._failed_in_a_row += 1
                if self.is_open:
                    self._open_until = self._clock() + self._open_s
            case Outcome.UNKNOWN:
                pass
