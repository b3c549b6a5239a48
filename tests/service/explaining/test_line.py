"""Who waits, who is refused, who is told: with a process that the test holds up."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from service.config import ExplanationSettings
from service.explaining.work import HeadWork, Work
from tests.fakes import ask, running_server, user, write_policy
from tests.service.explaining.conftest import FakeProcess
from tests.waiting import until
from wardgate.v1 import guardrail_pb2 as guardrail


def explain(text: str, **more: object) -> guardrail.ExplainRequest:
    return guardrail.ExplainRequest(messages=[user(text)], **more)  # type: ignore[arg-type]


class Held(FakeProcess):
    """Holds every piece of work until it is let go, or ended as a killed child would."""

    def __init__(self) -> None:
        super().__init__(before=self._hold)
        self.let_go = threading.Event()

    def _hold(self, work: Work) -> None:
        self.let_go.wait(20)

    def end(self) -> None:
        super().end()
        self.let_go.set()

    @property
    def prompts(self) -> list[str]:
        return [work.prompt for work in self.asked if isinstance(work, HeadWork)]


async def test_a_full_line_refuses_at_once_and_says_when_to_come_back(tmp_path: Path) -> None:
    write_policy(tmp_path)
    held = Held()
    settings = ExplanationSettings(max_waiting=1)
    async with running_server(tmp_path, process=held, explanation_settings=settings, artefact=tmp_path) as server:
        first = asyncio.ensure_future(server.explain(explain("one")))
        await until(lambda: len(held.asked) == 1)
        second = asyncio.ensure_future(server.explain(explain("two")))
        await until(lambda: server.explanations.depth == 1)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await server.explain(explain("three"))
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        status = rpc_status.from_call(refused.value)  # type: ignore[arg-type]
        assert status is not None
        assert any(detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for detail in status.details)
        held.let_go.set()
        assert (await first).explanation.risk == (await second).explanation.risk == 0.9
        assert server.metric("wardgate_explanations_total", method="auto", result="overloaded") == 1


async def test_what_waits_with_a_reply_goes_before_calls(tmp_path: Path) -> None:
    write_policy(tmp_path)
    held = Held()
    settings = ExplanationSettings(view_budget_s=10.0)
    async with running_server(tmp_path, process=held, explanation_settings=settings, artefact=tmp_path) as server:
        calls = [asyncio.ensure_future(server.explain(explain("one")))]
        await until(lambda: len(held.asked) == 1)
        calls.append(asyncio.ensure_future(server.explain(explain("two"))))
        await until(lambda: server.explanations.depth == 1)
        view = asyncio.ensure_future(server.check(ask("a bomb", views=[guardrail.VIEW_EXPLANATION])))
        await until(lambda: server.explanations.depth == 2)
        held.let_go.set()
        await asyncio.gather(*calls, view)
        assert held.prompts == ["one", "a bomb", "two"]


async def test_one_caller_leaving_does_not_hurt_the_others(tmp_path: Path) -> None:
    write_policy(tmp_path)
    held = Held()
    async with running_server(tmp_path, process=held, artefact=tmp_path) as server:
        first = asyncio.ensure_future(server.explain(explain("one")))
        await until(lambda: len(held.asked) == 1)
        left = asyncio.ensure_future(server.explain(explain("two")))
        stays = asyncio.ensure_future(server.explain(explain("three")))
        await until(lambda: server.explanations.depth == 2)
        left.cancel()
        first.cancel()
        await until(lambda: server.explanations.depth == 1)
        held.let_go.set()
        assert (await stays).explanation.head == "request_risk"
        assert held.prompts == ["one", "three"]


async def test_a_caller_whose_time_is_up_is_told_and_his_place_is_free(tmp_path: Path) -> None:
    write_policy(tmp_path)
    held = Held()
    async with running_server(tmp_path, process=held, artefact=tmp_path) as server:
        with pytest.raises(grpc.aio.AioRpcError) as late:
            await server.explain(explain("one"), timeout=0.3)
        assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await until(lambda: server.metric("wardgate_explanations_total", method="auto", result="late") == 1)
        held.let_go.set()
        assert (await server.explain(explain("two"))).explanation.risk == 0.9


async def test_a_check_waits_for_its_explanation_no_longer_than_it_may(tmp_path: Path) -> None:
    write_policy(tmp_path)
    held = Held()
    settings = ExplanationSettings(view_budget_s=0.05)
    async with running_server(tmp_path, process=held, explanation_settings=settings, artefact=tmp_path) as server:
        reply = await server.check(ask("a bomb", views=[guardrail.VIEW_EXPLANATION]))
        assert reply.decision.reason_code == "request-risk"
        assert reply.explanation.error.code == grpc.StatusCode.DEADLINE_EXCEEDED.value[0]
        assert server.metric("wardgate_explanations_total", method="fast", result="late") == 1


async def test_stopping_leaves_nobody_waiting(tmp_path: Path) -> None:
    write_policy(tmp_path)
    held = Held()
    async with running_server(tmp_path, process=held, artefact=tmp_path) as server:
        calls = [asyncio.ensure_future(server.explain(explain(text))) for text in ("one", "two")]
        await until(lambda: len(held.asked) == 1 and server.explanations.depth == 1)
        server.stop_explaining()
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert [one.code() for one in ended] == [grpc.StatusCode.UNAVAILABLE] * 2  # type: ignore[union-attr]
        await until(lambda: held.closed)
        with pytest.raises(grpc.aio.AioRpcError, match="not running"):
            await server.explain(explain("three"))
