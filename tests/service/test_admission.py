from __future__ import annotations

import asyncio
import time
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2

from guards.errors import DeadlineExceeded, Overloaded
from service.admission import Admission
from tests.fakes import FakeScorer, ask, running_server, write_policy
from tests.refusals import refusal
from tests.waiting import until
from wardgate.v1 import decision_pb2 as decisions


def soon(seconds: float = 10.0) -> float:
    return time.monotonic() + seconds


async def hold(admission: Admission, leave: asyncio.Event, deadline: float | None = None) -> float:
    async with admission.place(deadline or soon()) as waited_s:
        await leave.wait()
    return waited_s


async def test_no_more_are_at_work_than_there_are_places(tmp_path: Path) -> None:
    admission = Admission(3, 100)
    most = 0

    async def work() -> None:
        nonlocal most
        async with admission.place(soon()):
            most = max(most, admission.in_flight)
            await asyncio.sleep(0)

    await asyncio.gather(*(work() for _ in range(50)))
    assert most == 3
    assert (admission.in_flight, admission.waiting) == (0, 0)


async def test_who_finds_the_queue_full_is_refused_at_once_with_when_to_retry() -> None:
    admission = Admission(1, 2)
    leave = asyncio.Event()
    inside = [asyncio.create_task(hold(admission, leave)) for _ in range(3)]
    await until(lambda: (admission.in_flight, admission.waiting) == (1, 2))
    with pytest.raises(Overloaded) as refused:
        await hold(admission, leave)
    assert refused.value.retry_after_s >= 0.05
    leave.set()
    waited = await asyncio.gather(*inside)
    assert waited[0] < min(waited[1:])


async def test_without_a_queue_nobody_waits() -> None:
    admission = Admission(1, 0)
    leave = asyncio.Event()
    inside = asyncio.create_task(hold(admission, leave))
    await until(lambda: admission.in_flight == 1)
    with pytest.raises(Overloaded):
        await hold(admission, leave)
    leave.set()
    await inside
    leave.set()
    await hold(admission, leave)


async def test_a_deadline_that_passes_in_the_queue_is_deadline_exceeded_and_frees_the_queue() -> None:
    admission = Admission(1, 1)
    leave = asyncio.Event()
    inside = asyncio.create_task(hold(admission, leave))
    await until(lambda: admission.in_flight == 1)
    with pytest.raises(DeadlineExceeded):
        await hold(admission, leave, soon(0.02))
    assert admission.waiting == 0
    leave.set()
    await inside
    await hold(admission, leave)


async def test_who_leaves_the_queue_frees_its_place_in_it() -> None:
    admission = Admission(1, 1)
    leave = asyncio.Event()
    inside = asyncio.create_task(hold(admission, leave))
    waiting = asyncio.create_task(hold(admission, leave))
    await until(lambda: admission.waiting == 1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert admission.waiting == 0
    another = asyncio.create_task(hold(admission, leave))
    await until(lambda: admission.waiting == 1)
    leave.set()
    await asyncio.gather(inside, another)
    assert (admission.in_flight, admission.waiting) == (0, 0)


@pytest.mark.parametrize("end", [RuntimeError("x"), asyncio.CancelledError()])
async def test_a_place_is_given_back_however_the_work_ends(end: BaseException) -> None:
    admission = Admission(1, 0)
    with pytest.raises(type(end)):
        async with admission.place(soon()):
            raise end
    async with admission.place(soon()):
        assert admission.in_flight == 1


async def test_a_hundred_that_come_and_go_leave_no_place_behind() -> None:
    """Cancellations fall on holders, on waiters, and on those being handed a place."""
    admission = Admission(4, 100)

    async def work() -> None:
        async with admission.place(soon()):
            await asyncio.sleep(0.001)

    tasks = [asyncio.create_task(work()) for _ in range(100)]
    for task in tasks[::3]:
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (admission.in_flight, admission.waiting) == (0, 0)
    leave = asyncio.Event()
    inside = [asyncio.create_task(hold(admission, leave)) for _ in range(4)]
    await until(lambda: admission.in_flight == 4)
    leave.set()
    await asyncio.gather(*inside)


async def test_a_refused_caller_is_told_to_come_back(tmp_path: Path) -> None:
    write_policy(tmp_path)
    free = asyncio.Event()
    scorer = FakeScorer(before=lambda _: free.wait())
    admission = Admission(1, 0)
    async with running_server(tmp_path, scorer, admission=admission) as server:
        first = asyncio.ensure_future(server.check(ask("hello")))
        await until(lambda: admission.in_flight == 1)
        refused = await refusal(server.check(ask("hello")))
        free.set()
        reply = await first
        again = await server.check(ask("hello"))
    assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    assert refused.detail(error_details_pb2.RetryInfo).retry_delay.ToMilliseconds() >= 50
    assert reply.decision.action == again.decision.action == decisions.ACTION_ALLOW


async def test_a_caller_that_waits_too_long_is_never_scored(tmp_path: Path) -> None:
    write_policy(tmp_path)
    free = asyncio.Event()
    scorer = FakeScorer(before=lambda _: free.wait())
    admission = Admission(1, 4)
    async with running_server(tmp_path, scorer, admission=admission) as server:
        first = asyncio.ensure_future(server.check(ask("hello")))
        await until(lambda: admission.in_flight == 1)
        late = await refusal(server.check(ask("late"), timeout=0.1))
        await until(lambda: admission.waiting == 0)
        free.set()
        await first
    assert late.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert len(scorer.calls) == 1
