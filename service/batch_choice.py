"""Which waiting sequences go into the next forward: a pure choice over a line kept in two orders.

On a CPU padding costs more than batching gains, so a batch is led by the oldest sequence and
filled with sequences of its length (docs/adr/003-batching.md).
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

_NEIGHBOURS = 256  # candidates looked at per batch: bounds the choice to some 0.2 ms however long the line is

_OVERTAKING_BATCHES = 3  # fewer: smaller batches; more: a longer tail


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """What a batch and the line may hold. Token counts include special tokens."""

    max_tokens: int = 512  # padded tokens of one batch; a longer sequence runs alone
    max_items: int = 64
    max_padding: float = 0.05  # share of a batch's padded tokens that may be padding, [0, 1)
    patience: float = 1.3  # times the line's own length in seconds: who waited longer is overtaken by few
    max_queue_items: int = 4096  # waiting sequences; more are refused with Overloaded
    workers: int = 2  # threads, each running one forward at a time
    fair_tokens: int = 2048  # what a call may have at its place in the line; the rest of it queues up behind others
    stall_s: float = 60.0  # a forward that runs longer makes the batcher unhealthy

    def __post_init__(self) -> None:
        counts = (self.max_tokens, self.max_items, self.max_queue_items, self.workers, self.fair_tokens)
        if min(counts) < 1 or not 0 <= self.max_padding < 1 or self.patience < 0 or self.stall_s <= 0:
            raise ValueError("batch limits: counts are at least 1, max_padding in [0, 1), times positive")


@dataclass(slots=True, eq=False)
class Waiting:
    """One sequence in the line. `due` is its place: arrival in monotonic seconds, later for the tail of a long call."""

    tokens: int
    due: float
    number: int  # unique, in order of arrival
    call: int  # sequences submitted together share it


def _by_age(waiting: Waiting) -> tuple[float, int]:
    return waiting.due, waiting.number


def _by_length(waiting: Waiting) -> tuple[int, int]:
    return waiting.tokens, waiting.number


W = TypeVar("W", bound=Waiting)


@dataclass(slots=True)
class Line(Generic[W]):
    """Waiting sequences, sorted by age and by length."""

    by_age: list[W] = field(default_factory=list)
    by_length: list[W] = field(default_factory=list)
    tokens: int = 0

    def __len__(self) -> int:
        return len(self.by_age)

    def add(self, waiting: W) -> None:
        insort(self.by_age, waiting, key=_by_age)
        insort(self.by_length, waiting, key=_by_length)
        self.tokens += waiting.tokens

    def remove(self, waiting: W) -> bool:
        """Whether it was in the line."""
        at = bisect_left(self.by_age, _by_age(waiting), key=_by_age)
        if at == len(self.by_age) or self.by_age[at] is not waiting:
            return False
        del self.by_age[at]
        del self.by_length[bisect_left(self.by_length, _by_length(waiting), key=_by_length)]
        self.tokens -= waiting.tokens
        return True

    def near(self, leader: W, shortest: float, longest: float) -> list[W]:
        """Those of [shortest, longest] tokens, without the leader; at most the `_NEIGHBOURS` nearest in length."""
        line = self.by_length
        centre = bisect_left(line, _by_length(leader), key=_by_length)
        low = max(0, centre - _NEIGHBOURS // 2)
        high = min(len(line), centre + 1 + _NEIGHBOURS // 2)
        return [other for other in line[low:high] if other is not leader and shortest <= other.tokens <= longest]


def padding(tokens: int, padded_tokens: int) -> float:
    """The share of padded tokens that is padding, [0, 1)."""
    return 1 - tokens / padded_tokens


def choose_batch(
    line: Line[W], limits: BatchLimits, now: float, share: int = 1, patience_s: float = math.inf
) -> list[W]:
    """The oldest and its company, within the limits; the line is not changed and must not be empty.

    `share`: how many workers are free to take from the line; a short line is split among them. Once the oldest waited
    longer than `patience_s`, only those close behind it in the line may join it.
    """
    leader = line.by_age[0]
    # its fair part of the line, with room for the padding
    budget = min(limits.max_tokens, int(line.tokens / share / (1 - limits.max_padding)))
    # With one companion of length s beside L, padding is (L - s) / 2L: outside this range no pair is allowed.
    reach = max(1 - 2 * limits.max_padding, 0.05)
    company = line.near(leader, leader.tokens * reach, leader.tokens / reach)
    if leader.due < now - patience_s:
        last = _by_age(_last_allowed(line, limits))
        company = [other for other in company if _by_age(other) <= last]

    def preference(other: W) -> tuple[bool, int, float]:
        return other.call != leader.call, abs(other.tokens - leader.tokens), other.due

    company.sort(key=preference)
    return _fill(leader, company, limits, budget)


def _last_allowed(line: Line[W], limits: BatchLimits) -> W:
    """The last of the oldest that some batches hold: bounds how many may overtake a sequence of a rare length."""
    room = _OVERTAKING_BATCHES * limits.max_tokens
    for waiting in line.by_age:
        room -= waiting.tokens
        if room <= 0:
            return waiting
    return line.by_age[-1]


def _fill(leader: W, company: Iterable[W], limits: BatchLimits, budget: int) -> list[W]:
    batch = [leader]
    tokens = longest = leader.tokens
    for other in company:
        if len(batch) >= limits.max_items or longest * (len(batch) + 1) > budget:
            break
        grown = max(longest, other.tokens)
        padded = grown * (len(batch) + 1)
        if padded > budget or padding(tokens + other.tokens, padded) > limits.max_padding:
            continue
        batch.append(other)
        tokens += other.tokens
        longest = grown
    return batch


def padded_tokens(batch: Sequence[Waiting]) -> int:
    return len(batch) * max(waiting.tokens for waiting in batch)
