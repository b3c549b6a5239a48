"""How many forwards run at once over several batchers, and who goes first."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pytest

from guards.rewards.encoding import EncodedSequence
from guards.rewards.runtimes.base import FloatArray, TokenBatch
from service.batcher import Batcher, BatchLimits
from service.forward_slots import ForwardSlots


class Forward:
    """One forward on a thread of its own, in its slot until it is told to end."""

    def __init__(self, slots: ForwardSlots, yields: bool = False) -> None:
        self._slots, self._yields = slots, yields
        self.running, self._end = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with self._slots.slot(self._yields):
            self.running.set()
            assert self._end.wait(20)

    def end(self) -> None:
        self._end.set()
        self._thread.join(20)


@contextmanager
def ended(*forwards: Forward) -> Iterator[None]:
    try:
        yield
    finally:
        for forward in forwards:
            forward.end()


def test_no_more_run_than_there_are_slots() -> None:
    slots = ForwardSlots(2)
    first, second, third = (Forward(slots) for _ in range(3))
    with ended(first, second, third):
        for _ in range(2):
            assert any(forward.running.wait(10) for forward in (first, second, third))
        assert slots.in_use <= 2
        running = [forward for forward in (first, second, third) if forward.running.is_set()]
        running[0].end()
        assert all(forward.running.wait(10) for forward in (first, second, third))
    assert slots.in_use == 0


def test_one_that_yields_leaves_a_slot_to_the_others() -> None:
    slots = ForwardSlots(2, patience_s=60)
    active = Forward(slots)
    assert active.running.wait(10)
    shadow = Forward(slots, yields=True)
    late = Forward(slots)
    with ended(active, late, shadow):
        assert late.running.wait(10)  # one slot was kept free for it
        assert not shadow.running.is_set()
        active.end()
        assert not shadow.running.is_set()
        late.end()
        assert shadow.running.wait(10)


def test_one_that_yields_does_not_starve() -> None:
    slots = ForwardSlots(2, patience_s=0.01)
    active = Forward(slots)
    assert active.running.wait(10)
    shadow = Forward(slots, yields=True)
    with ended(active, shadow):
        assert shadow.running.wait(10)  # though it takes the last slot


def test_with_one_slot_one_that_yields_runs_when_nobody_else_wants_it() -> None:
    slots = ForwardSlots(1)
    shadow = Forward(slots, yields=True)
    with ended(shadow):
        assert shadow.running.wait(10)


@dataclass
class CountingRuntime:
    """Keeps how many forwards ran at once, over all that share `running`."""

    running: list[int]
    most: list[int]
    name: str = "counting"
    heads: Sequence[str] = ("request_risk",)

    def forward(self, batch: TokenBatch) -> FloatArray:
        self.running.append(1)
        self.most.append(len(self.running))
        time.sleep(0.002)  # so that forwards that may overlap do
        self.running.pop()
        return np.zeros((batch.input_ids.shape[0], 1), dtype=np.float32)


async def test_batchers_that_share_slots_run_no_more_forwards_than_there_are() -> None:
    slots, running, most = ForwardSlots(1), list[int](), list[int]()
    limits = BatchLimits(workers=2, max_items=1)
    batchers = [Batcher(CountingRuntime(running, most), limits, slots=slots) for _ in range(3)]
    batchers[2].yields = True
    ids = np.ones(3, dtype=np.int64)
    windows = [EncodedSequence(ids, ids * 0, 0, 1) for _ in range(20)]
    try:
        results = await asyncio.gather(*(batcher.submit(windows, time.monotonic() + 60) for batcher in batchers))
    finally:
        await asyncio.gather(*(batcher.close(1) for batcher in batchers))
    assert [len(result) for result in results] == [20, 20, 20]
    assert len(most) == 60
    assert max(most) == 1


def test_who_comes_back_at_once_does_not_overtake_who_waits() -> None:
    """Two workers under load would else keep a third out for good."""
    slots, order = ForwardSlots(1), list[str]()

    def wait() -> None:
        with slots.slot(yields=False):
            order.append("waited")

    for _ in range(20):
        with slots.slot(yields=False):
            thread = threading.Thread(target=wait, daemon=True)
            thread.start()
            while not slots.waiting:
                time.sleep(0.001)
        with slots.slot(yields=False):
            order.append("came back")
        thread.join(20)
    assert order == ["waited", "came back"] * 20


def test_a_forward_that_fails_gives_its_slot_back() -> None:
    slots = ForwardSlots(1)
    with pytest.raises(RuntimeError), slots.slot(yields=False):
        raise RuntimeError
    assert slots.in_use == 0
