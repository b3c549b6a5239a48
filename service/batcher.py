"""Dynamic batching: waiting sequences in one line, worker threads that run forwards.

Threads: `submit`, `close` and all answers live on the event loop; workers share with it only the
line, under one lock. A batch is answered with one hop to the loop.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from guards.errors import DeadlineExceeded, Overloaded, ScoringError, TooLarge, Unavailable
from guards.rewards.encoding import EncodedSequence, pad
from guards.rewards.runtimes.base import FloatArray, Runtime
from service.batch_choice import BatchLimits, Line, Waiting, choose_batch, padded_tokens
from service.forward_slots import ForwardSlots

__all__ = ["BatchLimits", "BatchOutcome", "BatchReport", "Batcher", "SequenceResult"]

log = logging.getLogger(__name__)

_FIRST_RATE = 5_000.0  # tokens per second of all workers, until the first batch tells
_RATE_MEMORY = 0.9  # weight of the past in the observed rate
_PACE = 4.0  # under load, the tail of a long call gets one part in so many
_RETRY_AFTER_S = (0.1, 30.0)  # bounds of the hint in Overloaded
_JOIN_S = 1.0  # given to threads to end, beyond the grace


class BatchOutcome(StrEnum):
    OK = "ok"
    RETRIED = "retried"  # failed; each of its sequences is run once more, alone
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class BatchReport:
    """One forward. `tokens` without padding; `queue_s` one per item, seconds in the line."""

    items: int
    tokens: int
    padded_tokens: int
    queue_s: tuple[float, ...]
    forward_s: float
    outcome: BatchOutcome


@dataclass(frozen=True, slots=True)
class SequenceResult:
    """`rewards` [heads]; seconds in the line and in the forward of its batch."""

    rewards: FloatArray
    queue_s: float
    forward_s: float


@dataclass(slots=True, eq=False)
class _Call:
    """What one caller waits for."""

    number: int
    deadline: float  # time.monotonic()
    waiter: asyncio.Future[None]
    results: list[SequenceResult | None]
    missing: int
    entries: list[_Entry] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class _Entry(Waiting):
    """One sequence in the line; whom to answer is part of it."""

    owner: _Call
    index: int  # among the caller's sequences
    sequence: EncodedSequence
    arrived: float


@dataclass(frozen=True, slots=True)
class _Answer:
    entry: _Entry
    result: SequenceResult | ScoringError


class Batcher:
    """Runs sequences through one runtime in batches of similar length."""

    def __init__(
        self,
        runtime: Runtime,
        limits: BatchLimits | None = None,
        on_batch: Callable[[BatchReport], None] | None = None,
        lone: Runtime | None = None,
        slots: ForwardSlots | None = None,
    ) -> None:
        """`on_batch` is called on the event loop after each forward.

        `lone` runs what has the machine to itself, on more cores than one; it gives the same rewards.
        `slots` are shared with the batchers of other models in this process.
        """
        self.limits = limits or BatchLimits()
        self.yields = False  # whether other batchers' forwards go first
        self.skipped = 0  # sequences whose caller had left or run out of time before their forward
        self._runtime = runtime
        self._lone = lone or runtime
        self._slots = slots or ForwardSlots(self.limits.workers)
        self._heads = len(runtime.heads)
        self._on_batch = on_batch
        self._loop: asyncio.AbstractEventLoop | None = None
        self._calls: set[_Call] = set()
        self._line: Line[_Entry] = Line()
        self._changed = threading.Condition()  # guards the line, the fields below and `skipped`
        self._closing = False
        self._idle = 0
        self._numbers = 0
        self._token_rate = _FIRST_RATE
        self._crashed = False
        self._running_since: dict[int, float] = {}  # worker -> start of its forward
        self._threads = [
            threading.Thread(target=self._work, args=(worker,), name=f"scorer-{worker}", daemon=True)
            for worker in range(self.limits.workers)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def depth(self) -> int:
        """Sequences in the line."""
        return len(self._line)

    @property
    def idle_workers(self) -> int:
        """Workers that wait for sequences."""
        return self._idle

    @property
    def token_rate(self) -> float:
        """Tokens per second all workers together manage, observed."""
        return self._token_rate

    @property
    def healthy(self) -> bool:
        """Open, every worker alive, none stuck in a forward, and the last batch did not break its worker."""
        oldest = min(tuple(self._running_since.values()), default=None)
        stuck = oldest is not None and time.monotonic() - oldest > self.limits.stall_s
        alive = all(thread.is_alive() for thread in self._threads)
        return alive and not (self._closing or self._crashed or stuck)

    async def submit(self, sequences: Sequence[EncodedSequence], deadline: float) -> list[SequenceResult]:
        """One result per sequence, in order. `deadline` is in `time.monotonic()` seconds.

        Raises Overloaded, TooLarge (more sequences than the line holds), DeadlineExceeded,
        ScoringError (any of the sequences failed) or Unavailable (closing).
        """
        if not sequences:
            return []
        call = self._admit(sequences, deadline)
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                await call.waiter
        except TimeoutError:
            raise DeadlineExceeded("scoring did not finish before the deadline") from None
        finally:
            self._calls.discard(call)
            if call.missing:
                self._withdraw(call.entries)
        return [result for result in call.results if result is not None]

    async def close(self, grace_s: float) -> None:
        """Refuse new work, finish the line within `grace_s`, answer everybody left with Unavailable."""
        with self._changed:
            self._closing = True
        waiters = [call.waiter for call in self._calls]
        ends = time.monotonic() + grace_s
        if waiters:
            await asyncio.wait(waiters, timeout=grace_s)
        self._drain()
        with self._changed:
            self._changed.notify_all()
        for call in tuple(self._calls):
            if not call.waiter.done():
                call.waiter.set_exception(Unavailable("the server is stopping"))
        await asyncio.to_thread(self._join, max(ends, time.monotonic() + _JOIN_S))

    def _join(self, until: float) -> None:
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        stuck = sum(thread.is_alive() for thread in self._threads)
        if stuck:
            log.error("scoring threads still in a forward at shutdown", extra={"threads": stuck})

    def _admit(self, sequences: Sequence[EncodedSequence], deadline: float) -> _Call:
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise RuntimeError("a batcher belongs to one event loop")
        count = len(sequences)
        if count > self.limits.max_queue_items:
            raise TooLarge(f"{count} sequences to score in one call; at most {self.limits.max_queue_items}")
        now = time.monotonic()
        if deadline <= now:
            raise DeadlineExceeded("the deadline passed before scoring began")
        with self._changed:
            if self._closing:
                raise Unavailable("the server is stopping")
            if len(self._line) + count > self.limits.max_queue_items:
                raise Overloaded("the scoring line is full", self._retry_after_s())
            call = _Call(self._numbers, deadline, loop.create_future(), [None] * count, count)
            self._numbers += count
            self._append(call, sequences, now)
            self._changed.notify(min(count, self.limits.workers))
        self._calls.add(call)
        return call

    def _append(self, call: _Call, sequences: Sequence[EncodedSequence], now: float) -> None:
        """Give every sequence its place: what a call has beyond its fair share counts as arriving later.

        The longest goes first, so that idle workers share a lone call evenly.
        """
        pace_s = _PACE / self._token_rate
        before = 0
        longest_first = sorted(enumerate(sequences), key=lambda item: -len(item[1]))
        for number, (index, sequence) in enumerate(longest_first, start=call.number):
            tokens = len(sequence)
            due = now + max(0, before - self.limits.fair_tokens) * pace_s
            entry = _Entry(tokens, due, number, call.number, call, index, sequence, now)
            call.entries.append(entry)
            self._line.add(entry)
            before += tokens

    def _retry_after_s(self) -> float:
        low, high = _RETRY_AFTER_S
        return min(max(self._line.tokens / self._token_rate, low), high)

    def _drain(self) -> list[_Entry]:
        with self._changed:
            drained, self._line = self._line.by_age, Line()
        return drained

    def _withdraw(self, entries: Iterable[_Entry]) -> None:
        with self._changed:
            self.skipped += sum(self._line.remove(entry) for entry in entries)

    # From here on: the worker threads.

    def _work(self, worker: int) -> None:
        while True:
            batch: list[_Entry] = []
            try:
                if not self._take(batch):
                    return
                with self._slots.slot(self.yields):
                    self._running_since[worker] = time.monotonic()
                    self._run(batch, self._runtime if self._has_company(batch) else self._lone)
                self._crashed = False
            except BaseException:  # a native library's panic too: the thread must go on and everybody be answered
                self._crashed = True
                log.critical("scoring worker broke; its callers are answered and it goes on", exc_info=True)
                # Without a batch it was the choice that broke, and would again on the same line.
                broken = ScoringError("the scoring worker broke")
                self._answer([_Answer(entry, broken) for entry in batch or self._drain()], None)
            finally:
                self._running_since.pop(worker, None)

    def _take(self, batch: list[_Entry]) -> bool:
        """Wait for work and move the next batch from the line into `batch`; False when closing and done."""
        with self._changed:
            self._idle += 1
            try:
                while not batch:
                    while not self._line:
                        if self._closing:
                            return False
                        self._changed.wait()
                    now = time.monotonic()
                    self._drop_expired(now)
                    if self._line:
                        batch.extend(choose_batch(self._line, self.limits, now, self._idle, self._patience_s()))
                for entry in batch:
                    self._line.remove(entry)
                return True
            finally:
                self._idle -= 1

    def _patience_s(self) -> float:
        """In units of what the line takes to serve, so that a slow machine is not taken for an impatient caller."""
        return self.limits.patience * self._line.tokens / self._token_rate

    def _has_company(self, batch: list[_Entry]) -> bool:
        """Whether anything else is being scored or waits for it."""
        with self._changed:
            busy = self._idle < self.limits.workers - 1 or self._slots.in_use > 1
            return len(batch) > 1 or bool(self._line) or busy

    def _drop_expired(self, now: float) -> None:
        """Their callers' own timers answer them."""
        expired = [entry for entry in self._line.by_age if entry.owner.deadline <= now]
        for entry in expired:
            self._line.remove(entry)
        self.skipped += len(expired)

    def _run(self, batch: list[_Entry], runtime: Runtime) -> None:
        started = time.monotonic()
        try:
            rewards = self._forward(batch, runtime)
        except Exception as error:
            report = _report(batch, started, BatchOutcome.RETRIED if len(batch) > 1 else BatchOutcome.FAILED)
            log.exception("forward failed", extra={"items": report.items, "padded_tokens": report.padded_tokens})
            if report.outcome is BatchOutcome.RETRIED:
                self._answer([], report)
                for entry in batch:
                    if not entry.owner.waiter.done():
                        self._run([entry], runtime)
                return
            failure = _failure(error)
            self._answer([_Answer(entry, failure) for entry in batch], report)
            return
        report = _report(batch, started, BatchOutcome.OK)
        self._observe_rate(report)
        finite = np.all(np.isfinite(rewards), axis=1)
        answers = [
            _Answer(
                entry,
                SequenceResult(rewards[row], report.queue_s[row], report.forward_s)
                if finite[row]
                else ScoringError("the model gave a reward that is not a finite number"),
            )
            for row, entry in enumerate(batch)
        ]
        self._answer(answers, report)

    def _forward(self, batch: list[_Entry], runtime: Runtime) -> FloatArray:
        rewards = runtime.forward(pad([entry.sequence for entry in batch]))
        if rewards.shape != (len(batch), self._heads):
            raise ScoringError(f"the runtime gave rewards of shape {rewards.shape}, not {(len(batch), self._heads)}")
        return rewards

    def _observe_rate(self, report: BatchReport) -> None:
        rate = report.tokens / max(report.forward_s, 1e-6) * self.limits.workers
        with self._changed:
            self._token_rate = _RATE_MEMORY * self._token_rate + (1 - _RATE_MEMORY) * rate

    def _answer(self, answers: list[_Answer], report: BatchReport | None) -> None:
        """One hop to the loop; a loop that is gone has nobody waiting."""
        assert self._loop is not None, "entries come from submit, which sets the loop"
        try:
            self._loop.call_soon_threadsafe(self._deliver, answers, report)
        except RuntimeError:
            log.warning("the event loop is closed; a finished batch has no callers left")

    def _deliver(self, answers: list[_Answer], report: BatchReport | None) -> None:
        """On the event loop."""
        for answer in answers:
            call = answer.entry.owner
            if call.waiter.done():
                continue
            if isinstance(answer.result, ScoringError):
                call.waiter.set_exception(ScoringError(*answer.result.args))  # callers share no traceback
                continue
            call.results[answer.entry.index] = answer.result
            call.missing -= 1
            if not call.missing:
                call.waiter.set_result(None)
        if report is not None and self._on_batch is not None:
            try:
                self._on_batch(report)
            except Exception:
                log.exception("the batch observer failed")


def _failure(error: Exception) -> ScoringError:
    return error if isinstance(error, ScoringError) else ScoringError("the forward of the batch failed")


def _report(batch: Sequence[_Entry], started: float, outcome: BatchOutcome) -> BatchReport:
    return BatchReport(
        items=len(batch),
        tokens=sum(entry.tokens for entry in batch),
        padded_tokens=padded_tokens(batch),
        queue_s=tuple(started - entry.arrived for entry in batch),
        forward_s=time.monotonic() - started,
        outcome=outcome,
    )
