from __future__ import annotations

import asyncio
import contextlib
import os
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.errors import DeadlineExceeded, Overloaded, ScoringError, TooLarge, Unavailable
from guards.rewards.encoding import EncodedSequence
from guards.rewards.runtimes.base import FloatArray, TokenBatch
from service.batch_choice import BatchLimits, Line, Waiting, choose_batch, padded_tokens, padding
from service.batcher import Batcher, BatchOutcome, BatchReport, SequenceResult

POISON, NOT_FINITE, PANIC = 900, 901, 902  # values of the first token that a FakeRuntime trips over
FOREVER = 1e9


class Panic(BaseException):
    """What a native extension raises when it panics."""


@dataclass
class FakeRuntime:
    """Reward = the first token's id. Forwards wait for `gate`; `shapes` holds the padded shape of each."""

    name: str = "fake"
    heads: Sequence[str] = ("only",)
    gate: threading.Event = field(default_factory=threading.Event)
    entered: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    firsts: list[list[int]] = field(default_factory=list)
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    seconds_per_token: float = 0.0
    fails: Callable[[TokenBatch], bool] = lambda batch: False
    extra_rows: int = 0

    def __post_init__(self) -> None:
        self.gate.set()

    def forward(self, batch: TokenBatch) -> FloatArray:
        firsts = batch.input_ids[:, 0]
        self.firsts.append(firsts.tolist())
        self.shapes.append(batch.input_ids.shape)
        self.entered.release()
        assert self.gate.wait(20), "the test never opened the gate"
        if self.seconds_per_token:
            time.sleep(self.seconds_per_token * batch.input_ids.size)
        if PANIC in firsts:
            raise Panic
        if POISON in firsts or self.fails(batch):
            raise RuntimeError("bad batch")
        rewards = np.concatenate([firsts, np.zeros(self.extra_rows)]).astype(np.float32)[:, None]
        rewards[rewards == NOT_FINITE] = np.nan
        return rewards


def sequence(tokens: int, first: int = 1) -> EncodedSequence:
    ids = np.full(tokens, 5, dtype=np.int64)
    ids[0] = first
    return EncodedSequence(ids, np.zeros(tokens, dtype=np.int64), 0, tokens)


@contextlib.asynccontextmanager
async def batching(
    runtime: FakeRuntime,
    limits: BatchLimits | None = None,
    on_batch: Callable[[BatchReport], None] | None = None,
    lone: FakeRuntime | None = None,
) -> AsyncIterator[Batcher]:
    batcher = Batcher(runtime, limits or BatchLimits(workers=1), on_batch, lone)
    try:
        yield batcher
    finally:
        runtime.gate.set()
        await batcher.close(grace_s=5.0)


def submit(
    batcher: Batcher, *sequences: EncodedSequence, deadline: float = FOREVER
) -> asyncio.Task[list[SequenceResult]]:
    return asyncio.create_task(batcher.submit(sequences, deadline))


async def hold(batcher: Batcher, runtime: FakeRuntime) -> asyncio.Task[list[SequenceResult]]:
    """Keep the only worker in a forward until the gate opens."""
    runtime.gate.clear()
    task = submit(batcher, sequence(8))
    assert await asyncio.to_thread(runtime.entered.acquire, timeout=20)
    return task


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in another thread or in elapsed time
            await asyncio.sleep(0.001)


async def in_line(batcher: Batcher, depth: int) -> None:
    await until(lambda: batcher.depth == depth)


def rewards(results: Sequence[SequenceResult]) -> list[float]:
    return [float(result.rewards[0]) for result in results]


async def test_results_come_back_in_the_callers_order() -> None:
    async with batching(FakeRuntime()) as batcher:
        results = await batcher.submit([sequence(30, 1), sequence(5, 2), sequence(200, 3)], FOREVER)
    assert rewards(results) == [1, 2, 3]
    assert all(result.queue_s >= 0 and result.forward_s >= 0 for result in results)


async def test_no_sequences_need_no_forward() -> None:
    runtime = FakeRuntime()
    async with batching(runtime) as batcher:
        assert await batcher.submit([], FOREVER) == []
    assert runtime.shapes == []


async def test_similar_lengths_share_a_batch_and_others_do_not() -> None:
    runtime = FakeRuntime()
    async with batching(runtime) as batcher:
        held = await hold(batcher, runtime)
        tasks = [submit(batcher, sequence(tokens)) for tokens in (100, 16, 98, 17, 101, 100)]
        await in_line(batcher, 6)
        runtime.gate.set()
        await asyncio.gather(held, *tasks)
    assert runtime.shapes == [(1, 8), (4, 101), (2, 17)]


async def test_a_batch_stays_within_its_tokens() -> None:
    runtime = FakeRuntime()
    async with batching(runtime) as batcher:
        held = await hold(batcher, runtime)
        task = submit(batcher, *[sequence(128)] * 9)
        await in_line(batcher, 9)
        runtime.gate.set()
        await asyncio.gather(held, task)
    assert runtime.shapes[1:] == [(4, 128), (4, 128), (1, 128)]


async def test_a_sequence_over_the_token_bound_runs_alone() -> None:
    runtime = FakeRuntime()
    async with batching(runtime, BatchLimits(workers=1, max_tokens=100)) as batcher:
        assert rewards(await batcher.submit([sequence(300, 1), sequence(300, 2)], FOREVER)) == [1, 2]
    assert runtime.shapes == [(1, 300), (1, 300)]


async def test_an_idle_pair_of_workers_shares_one_call_evenly() -> None:
    runtime = FakeRuntime()
    async with batching(runtime, BatchLimits(workers=2)) as batcher:
        await hold_until_both_enter(batcher, runtime)
    assert sorted(runtime.shapes[:2]) == [(2, 120), (2, 120)]


async def hold_until_both_enter(batcher: Batcher, runtime: FakeRuntime) -> None:
    runtime.gate.clear()
    task = submit(batcher, sequence(20), *[sequence(120)] * 4)
    for _ in range(2):
        assert await asyncio.to_thread(runtime.entered.acquire, timeout=20)
    runtime.gate.set()
    await task


async def test_a_callers_cancel_leaves_its_batch_mates_alone_and_skips_its_own() -> None:
    runtime = FakeRuntime()
    async with batching(runtime) as batcher:
        held = await hold(batcher, runtime)
        leaver, stayer = submit(batcher, sequence(50, 2)), submit(batcher, sequence(50, 3))
        await in_line(batcher, 2)
        leaver.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaver
        assert (batcher.depth, batcher.skipped) == (1, 1)
        runtime.gate.set()
        assert rewards(await stayer) == [3]
        await held
    assert runtime.firsts == [[1], [3]]


async def test_a_cancel_during_the_forward_leaves_its_batch_mates_alone() -> None:
    runtime = FakeRuntime()

    def shut_the_gate_behind(batch: TokenBatch) -> bool:
        runtime.gate.clear()
        return False

    runtime.fails = shut_the_gate_behind
    async with batching(runtime) as batcher:
        held = await hold(batcher, runtime)
        leaver, stayer = submit(batcher, sequence(50, 2)), submit(batcher, sequence(50, 3))
        await in_line(batcher, 2)
        runtime.gate.set()
        await held
        assert await asyncio.to_thread(runtime.entered.acquire, timeout=20)
        leaver.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaver
        runtime.gate.set()
        assert rewards(await stayer) == [3]
    assert runtime.firsts == [[1], [2, 3]]


async def test_a_deadline_in_the_line_answers_its_caller_and_skips_the_forward() -> None:
    runtime = FakeRuntime()
    async with batching(runtime) as batcher:
        held = await hold(batcher, runtime)
        patient = submit(batcher, sequence(50, 3))
        with pytest.raises(DeadlineExceeded):
            await batcher.submit([sequence(50, 2)], time.monotonic() + 0.01)
        runtime.gate.set()
        assert rewards(await patient) == [3]
        await held
        assert batcher.skipped == 1
    assert [2] not in runtime.firsts


async def test_what_expired_while_the_loop_was_busy_is_not_run() -> None:
    runtime = FakeRuntime()
    async with batching(runtime) as batcher:
        held = await hold(batcher, runtime)
        late = submit(batcher, sequence(50, 2), deadline=time.monotonic() + 0.1)
        await in_line(batcher, 1)
        keep_the_loop_busy_until_the_line_is_empty(batcher, runtime)
        with pytest.raises(DeadlineExceeded):
            await late
        await held
        assert batcher.skipped == 1
    assert runtime.firsts == [[1]]


def keep_the_loop_busy_until_the_line_is_empty(batcher: Batcher, runtime: FakeRuntime) -> None:
    time.sleep(0.12)
    runtime.gate.set()
    until = time.monotonic() + 20
    while batcher.depth and time.monotonic() < until:
        time.sleep(0.001)


async def test_a_deadline_during_the_forward_answers_at_the_deadline() -> None:
    runtime = FakeRuntime()
    async with batching(runtime) as batcher:
        runtime.gate.clear()
        with pytest.raises(DeadlineExceeded):
            await batcher.submit([sequence(50)], time.monotonic() + 0.05)


async def test_a_passed_deadline_is_refused_at_once() -> None:
    async with batching(FakeRuntime()) as batcher:
        with pytest.raises(DeadlineExceeded):
            await batcher.submit([sequence(5)], time.monotonic() - 1)
        assert batcher.depth == 0


async def test_a_poisonous_sequence_hurts_only_its_caller() -> None:
    runtime = FakeRuntime()
    reports: list[BatchReport] = []
    async with batching(runtime, on_batch=reports.append) as batcher:
        held = await hold(batcher, runtime)
        tasks = [submit(batcher, sequence(50, first)) for first in (2, POISON, 3)]
        await in_line(batcher, 3)
        runtime.gate.set()
        good, bad, also_good = await asyncio.gather(*tasks, return_exceptions=True)
        await held
        assert batcher.healthy
    assert isinstance(bad, ScoringError)
    assert not isinstance(good, BaseException)
    assert not isinstance(also_good, BaseException)
    assert rewards(good) + rewards(also_good) == [2, 3]
    assert [report.outcome for report in reports] == [
        BatchOutcome.OK,
        BatchOutcome.RETRIED,
        BatchOutcome.OK,
        BatchOutcome.FAILED,
        BatchOutcome.OK,
    ]


async def test_a_batch_that_always_fails_answers_everybody() -> None:
    runtime = FakeRuntime(fails=lambda batch: True)
    async with batching(runtime) as batcher:
        held = await hold(batcher, runtime)
        tasks = [submit(batcher, sequence(50)) for _ in range(5)]
        await in_line(batcher, 5)
        runtime.gate.set()
        outcomes = await asyncio.gather(held, *tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ScoringError] * 6


async def test_a_reward_that_is_not_finite_fails_only_its_caller() -> None:
    runtime = FakeRuntime()
    async with batching(runtime) as batcher:
        held = await hold(batcher, runtime)
        good, bad = submit(batcher, sequence(50, 2)), submit(batcher, sequence(50, NOT_FINITE))
        await in_line(batcher, 2)
        runtime.gate.set()
        with pytest.raises(ScoringError, match="finite"):
            await bad
        assert rewards(await good) == [2]
        await held
    assert len(runtime.shapes) == 2


async def test_rewards_of_the_wrong_shape_fail_the_batch() -> None:
    async with batching(FakeRuntime(extra_rows=1)) as batcher:
        with pytest.raises(ScoringError, match="shape"):
            await batcher.submit([sequence(9), sequence(9)], FOREVER)


async def test_one_failed_sequence_fails_its_call_and_frees_the_rest_of_it() -> None:
    runtime = FakeRuntime(seconds_per_token=1e-5)
    async with batching(runtime) as batcher:
        with pytest.raises(ScoringError):
            await batcher.submit([sequence(400, POISON), *[sequence(300)] * 50], FOREVER)
        assert batcher.depth == 0
        assert rewards(await batcher.submit([sequence(5, 4)], FOREVER)) == [4]
    assert len(runtime.shapes) < 50


async def test_a_panicking_runtime_answers_everybody_and_the_worker_goes_on() -> None:
    runtime = FakeRuntime()
    async with batching(runtime) as batcher:
        with pytest.raises(ScoringError, match="worker"):
            await batcher.submit([sequence(50, PANIC)], FOREVER)
        assert not batcher.healthy
        assert rewards(await batcher.submit([sequence(50, 2)], FOREVER)) == [2]
        assert rewards(await batcher.submit([sequence(50, 3)], FOREVER)) == [3]
        assert batcher.healthy


async def test_a_forward_that_hangs_is_unhealthy() -> None:
    runtime = FakeRuntime()
    async with batching(runtime, BatchLimits(workers=1, stall_s=0.01)) as batcher:
        assert batcher.healthy
        held = await hold(batcher, runtime)
        await until(lambda: not batcher.healthy)
        runtime.gate.set()
        await held


async def test_an_observer_that_raises_costs_no_caller_its_answer() -> None:
    def explode(report: BatchReport) -> None:
        raise ValueError

    async with batching(FakeRuntime(), on_batch=explode) as batcher:
        assert rewards(await batcher.submit([sequence(5, 2)], FOREVER)) == [2]
        assert rewards(await batcher.submit([sequence(5, 3)], FOREVER)) == [3]


async def test_a_report_tells_items_tokens_and_padding() -> None:
    reports: list[BatchReport] = []
    runtime = FakeRuntime()
    async with batching(runtime, on_batch=reports.append) as batcher:
        held = await hold(batcher, runtime)
        task = submit(batcher, sequence(100), sequence(96))
        await in_line(batcher, 2)
        runtime.gate.set()
        await asyncio.gather(held, task)
    report = reports[1]
    assert (report.items, report.tokens, report.padded_tokens, report.outcome) == (2, 196, 200, BatchOutcome.OK)
    assert len(report.queue_s) == 2
    assert min(report.queue_s) >= 0


async def test_a_full_line_refuses_at_once_and_says_when_to_come_back() -> None:
    runtime = FakeRuntime()
    async with batching(runtime, BatchLimits(workers=1, max_queue_items=10)) as batcher:
        held = await hold(batcher, runtime)
        waiting = submit(batcher, *[sequence(200)] * 10)
        await in_line(batcher, 10)
        with pytest.raises(Overloaded) as refused:
            await batcher.submit([sequence(5)], FOREVER)
        assert 0.1 <= refused.value.retry_after_s <= 30
        assert batcher.depth == 10
        runtime.gate.set()
        await asyncio.gather(held, waiting)


async def test_a_call_that_can_never_fit_is_too_large() -> None:
    async with batching(FakeRuntime(), BatchLimits(max_queue_items=10)) as batcher:
        with pytest.raises(TooLarge):
            await batcher.submit([sequence(5)] * 11, FOREVER)


async def test_closing_finishes_the_line_within_the_grace() -> None:
    runtime = FakeRuntime()
    async with batching(runtime) as batcher:
        held = await hold(batcher, runtime)
        waiting = [submit(batcher, sequence(300, first)) for first in (2, 3)]
        await in_line(batcher, 2)
        closing = asyncio.create_task(batcher.close(grace_s=20))
        await asyncio.sleep(0)
        runtime.gate.set()
        await closing
        assert [rewards(await task) for task in (held, *waiting)] == [[1], [2], [3]]
        assert not batcher.healthy


async def test_closing_without_grace_answers_everybody_even_in_a_hung_forward() -> None:
    runtime = FakeRuntime()
    async with batching(runtime) as batcher:
        held = await hold(batcher, runtime)
        waiting = [submit(batcher, sequence(300)) for _ in range(3)]
        await in_line(batcher, 3)
        await batcher.close(grace_s=0.0)
        outcomes = await asyncio.gather(held, *waiting, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [Unavailable] * 4
        with pytest.raises(Unavailable):
            await batcher.submit([sequence(5)], FOREVER)


async def test_a_long_text_does_not_hold_up_short_ones() -> None:
    runtime = FakeRuntime(seconds_per_token=2e-7)
    async with batching(runtime) as batcher:
        held = await hold(batcher, runtime)
        long_text = submit(batcher, *[sequence(250)] * 500)
        await in_line(batcher, 500)
        short = [submit(batcher, sequence(20, 2)) for _ in range(40)]
        await in_line(batcher, 540)
        runtime.gate.set()
        await asyncio.gather(*short)
        served = sum(len(firsts) for firsts in runtime.firsts[1:] if 2 not in firsts)
        assert served < 100
        assert len(await long_text) == 500
        await held


async def test_a_thousand_callers_are_all_answered_and_nothing_leaks() -> None:
    rng = random.Random(0)
    draws = random.Random(1)
    runtime = FakeRuntime(fails=lambda batch: draws.random() < 0.01)
    threads, descriptors = set(threading.enumerate()), len(os.listdir("/proc/self/fd"))
    tasks_before = len(asyncio.all_tasks())

    async def caller(number: int) -> str:
        deadline = time.monotonic() + (0.005 if rng.random() < 0.05 else 20)
        try:
            results = await batcher.submit([sequence(rng.randint(2, 300), number)] * rng.randint(1, 4), deadline)
        except (ScoringError, DeadlineExceeded) as error:
            return type(error).__name__
        assert set(rewards(results)) == {number}
        return "ok"

    batcher = Batcher(runtime, BatchLimits(max_queue_items=10_000))
    callers = [asyncio.create_task(caller(1000 + number)) for number in range(1000)]
    for task in rng.sample(callers, 100):
        asyncio.get_running_loop().call_later(rng.random() * 0.05, task.cancel)
    async with asyncio.timeout(20):
        outcomes = await asyncio.gather(*callers, return_exceptions=True)
    assert batcher.depth == 0
    await batcher.close(grace_s=5)
    assert len(outcomes) == 1000
    assert sum(outcome == "ok" for outcome in outcomes) > 500
    assert all(isinstance(outcome, str | asyncio.CancelledError) for outcome in outcomes)
    assert len(asyncio.all_tasks()) == tasks_before
    # `close` joins in the loop's own pool: at most that one thread is new
    new = set(threading.enumerate()) - threads
    assert len(new) <= 1
    assert not [thread for thread in new if thread.name.startswith("scorer-")]
    assert len(os.listdir("/proc/self/fd")) <= descriptors  # sockets of earlier tests may close meanwhile


def test_limits_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="limits"):
        BatchLimits(max_padding=1.0)
    with pytest.raises(ValueError, match="limits"):
        BatchLimits(workers=0)


WAITING = st.tuples(st.integers(80, 120) | st.integers(1, 700), st.floats(0, 10), st.integers(0, 5))
LIMITS = st.builds(
    BatchLimits,
    max_tokens=st.integers(1, 600),
    max_items=st.integers(1, 20),
    max_padding=st.floats(0, 0.9),
)


def line_of(rows: Sequence[tuple[int, float, int]]) -> Line[Waiting]:
    line: Line[Waiting] = Line()
    for number, (tokens, due, call) in enumerate(rows):
        line.add(Waiting(tokens, due, number, call))
    return line


@given(st.lists(WAITING, min_size=1, max_size=60), LIMITS, st.floats(0, 15), st.integers(1, 4), st.floats(0, 5))
def test_every_batch_holds_the_oldest_and_keeps_the_limits_until_all_are_served(
    rows: list[tuple[int, float, int]], limits: BatchLimits, now: float, share: int, patience_s: float
) -> None:
    line = line_of(rows)
    served: list[int] = []
    while line:
        before = len(line)
        oldest = min(line.by_age, key=lambda waiting: (waiting.due, waiting.number))
        batch = choose_batch(line, limits, now, share, patience_s)
        assert len(line) == before
        assert batch[0] is oldest
        assert len({waiting.number for waiting in batch}) == len(batch) <= limits.max_items
        if len(batch) > 1:
            assert padded_tokens(batch) <= limits.max_tokens
            waste = padding(sum(waiting.tokens for waiting in batch), padded_tokens(batch))
            assert waste <= limits.max_padding + 1e-9
        assert all(line.remove(waiting) for waiting in batch)
        served += [waiting.number for waiting in batch]
    assert sorted(served) == list(range(len(rows)))
    assert line.tokens == 0
    assert line.by_length == []


def test_a_leader_that_waited_too_long_takes_only_those_close_behind_it() -> None:
    rows = [(100, 0.0, 0), (96, 0.1, 1), (104, 0.2, 2), *[(300, 0.3, 3)] * 4, *[(100, 0.4, call) for call in (4, 5)]]
    limits = BatchLimits(max_tokens=420, max_padding=0.05)
    in_time = choose_batch(line_of(rows), limits, now=4.0, patience_s=5.0)
    too_late = choose_batch(line_of(rows), limits, now=6.0, patience_s=5.0)
    assert [waiting.due for waiting in in_time] == [0.0, 0.4, 0.4, 0.1]
    assert [waiting.due for waiting in too_late] == [0.0, 0.1, 0.2]


def test_padding_counts_for_the_whole_batch_not_for_pairs() -> None:
    rows = [(100, 0.0, 0), (109, 0.1, 1), (92, 0.2, 2), (92, 0.3, 3), (300, 0.4, 4)]
    batch = choose_batch(line_of(rows), BatchLimits(max_padding=0.06), now=0.0)
    assert [waiting.tokens for waiting in batch] == [100, 92, 92]


def test_sequences_of_one_call_are_preferred_as_company() -> None:
    rows = [(100, 0.0, 0), *[(100, 0.0, number) for number in range(1, 6)], (97, 0.0, 0), (103, 0.0, 0)]
    batch = choose_batch(line_of(rows), BatchLimits(max_tokens=320), now=0.0)
    assert [(waiting.tokens, waiting.call) for waiting in batch] == [(100, 0), (97, 0), (103, 0)]


def test_a_line_of_thousands_is_cut_in_little_time() -> None:
    rng = random.Random(0)
    line = line_of([(rng.randint(16, 256), rng.random(), number) for number in range(4096)])
    took_s = []
    for _ in range(50):
        started = time.process_time()
        batch = choose_batch(line, BatchLimits(), now=1.0)
        took_s.append(time.process_time() - started)
        for waiting in batch:
            line.remove(waiting)
    assert min(took_s) < 0.005  # a busy machine makes it slower, never faster


async def test_what_has_the_machine_to_itself_runs_on_the_lone_runtime_and_nothing_else_does() -> None:
    shared, lone = FakeRuntime(), FakeRuntime()
    async with batching(shared, BatchLimits(workers=2), lone=lone) as batcher:
        await until(lambda: batcher.idle_workers == 2)  # a worker answers first and is free a moment later
        await batcher.submit([sequence(8, 11)], FOREVER)
        assert (lone.firsts, shared.firsts) == ([[11]], [])

        await until(lambda: batcher.idle_workers == 2)  # a worker answers first and is free a moment later
        lone.gate.clear()
        held = asyncio.create_task(batcher.submit([sequence(8, 12)], FOREVER))
        await asyncio.to_thread(lone.entered.acquire)
        await asyncio.to_thread(lone.entered.acquire)
        await batcher.submit([sequence(8, 13)], FOREVER)
        assert shared.firsts == [[13]]
        lone.gate.set()
        await held
