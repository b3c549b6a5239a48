from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import grpc

from service.admission import Admission
from tests.fakes import FakeBackend, FakeScorer, ask, running_server, user, write_policy
from tests.waiting import until
from wardgate.v1 import decision_pb2 as decisions
from wardgate.v1 import guardrail_pb2 as guardrail


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def tasks() -> int:
    return len(asyncio.all_tasks())


async def slow() -> None:
    await asyncio.sleep(0.02)


async def outcome(call: asyncio.Future[guardrail.CheckResponse]) -> str:
    try:
        return decisions.Action.Name((await call).decision.action)
    except grpc.aio.AioRpcError as error:
        return error.code().name
    except asyncio.CancelledError:
        return "left"


async def test_two_hundred_callers_of_whom_many_leave_are_all_answered_and_leave_nothing_behind(
    tmp_path: Path,
) -> None:
    write_policy(tmp_path)
    chance = random.Random(7)
    admission = Admission(16, 200)
    scorer = FakeScorer(before=lambda _: slow())
    async with running_server(tmp_path, scorer, admission=admission) as server:
        await server.check(ask("hello"))
        tasks_before, files_before = tasks(), open_files()
        calls = [asyncio.ensure_future(server.check(ask("a bomb" if i % 2 else "hello"))) for i in range(200)]
        outcomes = [asyncio.create_task(outcome(call)) for call in calls]
        leaving = [index for index in range(200) if chance.random() < 0.4]
        for index in leaving:
            await asyncio.sleep(chance.random() * 0.004)
            calls[index].cancel()
        async with asyncio.timeout(20):
            said = await asyncio.gather(*outcomes)
        await until(lambda: (admission.in_flight, admission.waiting) == (0, 0))
        await until(lambda: tasks() <= tasks_before)
        await until(lambda: open_files() <= files_before + 2)
        again = await server.check(ask("a bomb"))
        started = server.metric(
            "grpc_server_started_total", grpc_service="wardgate.v1.GuardrailService", grpc_method="Check"
        )
        handled = sum(
            server.metric(
                "grpc_server_handled_total",
                grpc_service="wardgate.v1.GuardrailService", grpc_method="Check", grpc_code=code.name,
            )
            for code in grpc.StatusCode
        )  # fmt: skip
    stayed = [index for index in range(200) if index not in leaving]
    assert {said[index] for index in leaving} <= {"left", "ACTION_ALLOW", "ACTION_BLOCK"}
    assert "left" in said
    assert [said[i] for i in stayed] == ["ACTION_BLOCK" if i % 2 else "ACTION_ALLOW" for i in stayed]
    assert again.decision.action == decisions.ACTION_BLOCK
    assert started == handled  # every call that began also ended


async def test_more_callers_than_are_admitted_are_answered_or_refused_at_once(tmp_path: Path) -> None:
    write_policy(tmp_path)
    scorer = FakeScorer(before=lambda _: slow())
    async with running_server(tmp_path, scorer, admission=Admission(2, 8)) as server:
        calls = [asyncio.ensure_future(server.check(ask("hello"))) for _ in range(100)]
        async with asyncio.timeout(20):
            said = await asyncio.gather(*(outcome(call) for call in calls))
    assert set(said) == {"ACTION_ALLOW", "RESOURCE_EXHAUSTED"}
    assert said.count("ACTION_ALLOW") == len(scorer.calls) >= 10


async def test_a_batch_whose_caller_leaves_stops_every_item(tmp_path: Path) -> None:
    write_policy(tmp_path)
    at_work = cancelled = 0

    async def stuck() -> None:
        nonlocal at_work, cancelled
        at_work += 1
        try:
            await asyncio.Event().wait()
        finally:
            cancelled += 1

    async with running_server(tmp_path, FakeScorer(before=lambda _: stuck())) as server:
        tasks_before = tasks()
        call = asyncio.ensure_future(server.batch_check(*[ask("hello")] * 20))
        await until(lambda: at_work == 20)
        call.cancel()
        await until(lambda: cancelled == 20)
        await until(lambda: tasks() <= tasks_before)
        assert server.admission.in_flight == 0


async def test_generations_that_are_left_stop_the_model_and_leave_nothing_behind(tmp_path: Path) -> None:
    write_policy(tmp_path)

    async def stuck() -> None:
        await asyncio.Event().wait()

    backend = FakeBackend(before=lambda: stuck())
    async with running_server(tmp_path, backend=backend) as server:
        tasks_before = tasks()
        for _ in range(3):
            asked = len(backend.asked)
            request = guardrail.GenerateRequest(messages=[user("hello")])
            calls = [asyncio.ensure_future(server.generate(request)) for _ in range(20)]
            await until(lambda asked=asked: len(backend.asked) == asked + 20)  # type: ignore[misc]
            for call in calls:
                call.cancel()
            await until(lambda: backend.cancelled == len(backend.asked))
        await until(lambda: tasks() <= tasks_before)
        assert server.admission.in_flight == 0
