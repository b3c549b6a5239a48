"""What becomes of a text when a guard or the scorer fails."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2

from guards.base import ScoreInput
from guards.errors import DeadlineExceeded, Overloaded, ScoringError
from guards.types import ERROR_TYPES, TextScores
from service.config import GrpcSettings
from tests.fakes import FakeBackend, FakeScorer, ask, running_server, user, write_policy
from tests.plugin_guards import installed
from tests.refusals import refusal
from wardgate.v1 import decision_pb2 as decisions
from wardgate.v1 import guardrail_pb2 as guardrail

CANARY = "canary-7f3a"


@pytest.fixture(autouse=True)
def _plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with installed(tmp_path_factory.mktemp("site")):
        yield


def policy(on_error: str, does: str, more: str = "", side: str = "request") -> str:
    """One misbehaving guard and one good one."""
    return f"""
name: default
version: "1"
{side}:
  - {{kind: plugin, name: bad, does: {does}, timeout_s: 0.05, on_error: {on_error}{more}}}
  - {{kind: patterns, name: words, category: word, keywords: [bomb], action: block}}
"""


def reward_policy(on_error: str, more: str = "") -> str:
    return f"""
name: default
version: "1"
request:
  - {{kind: reward, name: risk, head: request_risk, thresholds: {{block: 0.8}}, on_error: {on_error}{more}}}
  - {{kind: patterns, name: words, category: word, keywords: [bomb], action: block}}
response:
  - {{kind: reward, name: answer, head: response_reward, thresholds: {{block: 0.8}}, on_error: {on_error}{more}}}
"""


def result_of(reply: guardrail.CheckResponse, guard: str) -> decisions.GuardResult:
    (found,) = [result for result in reply.guards if result.guard == guard]
    return found


@pytest.mark.parametrize(
    ("does", "status", "error_type"),
    [
        ("raise", decisions.GUARD_STATUS_ERROR, "internal"),
        ("guard_error", decisions.GUARD_STATUS_ERROR, "guard"),
        ("memory", decisions.GUARD_STATUS_ERROR, "memory"),
        ("hang", decisions.GUARD_STATUS_TIMEOUT, "timeout"),
        ("time_out", decisions.GUARD_STATUS_TIMEOUT, "timeout"),
    ],
)
async def test_a_guard_that_fails_withholds_when_closed_and_passes_counted_when_open(
    tmp_path: Path, does: str, status: decisions.GuardStatus, error_type: str
) -> None:
    write_policy(tmp_path, policy("closed", does))
    write_policy(tmp_path, policy("open", does).replace("name: default", "name: lenient"), "lenient.yaml")
    async with running_server(tmp_path) as server:
        closed = await server.check(ask("hello"))
        opened = await server.check(ask("hello", policy="lenient"))
        failed_closed = server.metric("wardgate_fail_closed_total", guard="bad", error_type=error_type)
        failed_open = server.metric("wardgate_fail_open_total", guard="bad", error_type=error_type)
    assert closed.decision.action == decisions.ACTION_BLOCK
    assert (closed.decision.cause, closed.decision.reason_code) == (decisions.CAUSE_GUARD_FAILURE, "bad-failed")
    assert closed.decision.safe_message
    assert opened.decision.action == decisions.ACTION_ALLOW
    for reply, mode in ((closed, decisions.FAIL_MODE_CLOSED), (opened, decisions.FAIL_MODE_OPEN)):
        bad = result_of(reply, "bad")
        assert (bad.status, bad.error_type, bad.fail_mode_applied) == (status, error_type, mode)
        assert result_of(reply, "words").status == decisions.GUARD_STATUS_OK
    assert (failed_closed, failed_open) == (1, 1)
    assert error_type in ERROR_TYPES


async def test_each_kind_of_failure_has_its_own_mode(tmp_path: Path) -> None:
    modes = "{timeout: open, error: closed}"
    write_policy(tmp_path, policy(modes, "hang"))
    write_policy(tmp_path, policy(modes, "raise").replace("name: default", "name: raising"), "raising.yaml")
    async with running_server(tmp_path) as server:
        timed_out = await server.check(ask("hello"))
        raised = await server.check(ask("hello", policy="raising"))
    assert timed_out.decision.action == decisions.ACTION_ALLOW
    assert raised.decision.action == decisions.ACTION_BLOCK


@pytest.mark.parametrize("on_error", ["open", "closed"])
@pytest.mark.parametrize("does", ["raise", "hang"])
async def test_a_real_block_is_a_block_by_policy_whatever_else_fails(tmp_path: Path, on_error: str, does: str) -> None:
    write_policy(tmp_path, policy(on_error, does))
    async with running_server(tmp_path) as server:
        reply = await server.check(ask("a bomb"))
    assert reply.decision.action == decisions.ACTION_BLOCK
    assert (reply.decision.cause, reply.decision.reason_code) == (decisions.CAUSE_POLICY, "words")


async def test_a_real_block_of_one_text_outranks_a_failure_on_another(tmp_path: Path) -> None:
    write_policy(tmp_path, policy("closed", "raise") + "response: [{kind: patterns, name: said, category: word, "
                 "keywords: [bomb], action: block}]\n")  # fmt: skip
    async with running_server(tmp_path) as server:
        reply = await server.check(ask("hello", "a bomb"))
    assert (reply.decision.cause, reply.decision.reason_code) == (decisions.CAUSE_POLICY, "said")


def raising(error: Exception) -> FakeScorer:
    def before(_: Sequence[ScoreInput]) -> None:
        raise error

    return FakeScorer(before=before)


class NanScorer(FakeScorer):
    async def score(self, inputs: Sequence[ScoreInput], deadline: float) -> tuple[TextScores, ...]:
        scores = await super().score(inputs, deadline)
        return tuple(
            replace(text, heads={k: replace(v, reward=math.nan, risk=math.nan) for k, v in text.heads.items()})
            for text in scores
        )


@pytest.mark.parametrize(
    ("scorer", "error_type"), [(raising(ScoringError("broken")), "scoring"), (NanScorer(), "scoring")]
)
@pytest.mark.parametrize("views", [[], [guardrail.VIEW_SCORES]])
async def test_a_scorer_that_fails_is_the_guards_failure(
    tmp_path: Path, scorer: FakeScorer, error_type: str, views: list[guardrail.View]
) -> None:
    write_policy(tmp_path, reward_policy("closed"))
    write_policy(tmp_path, reward_policy("open").replace("name: default", "name: lenient"), "lenient.yaml")
    async with running_server(tmp_path, scorer) as server:
        closed = await server.check(ask("hello", "fine", views=views))
        opened = await server.check(ask("hello", "fine", policy="lenient", views=views))
        counted = server.metric("wardgate_fail_open_total", guard="answer", error_type=error_type)
    assert closed.decision.action == closed.candidates[0].decision.action == decisions.ACTION_BLOCK
    assert closed.decision.cause == decisions.CAUSE_GUARD_FAILURE
    assert opened.decision.action == opened.candidates[0].decision.action == decisions.ACTION_ALLOW
    assert result_of(opened, "risk").error_type == error_type
    assert not opened.candidates[0].HasField("reward")
    assert counted == 1


async def test_a_slow_scorer_is_a_timeout_of_the_guard_also_when_scores_were_asked_for(tmp_path: Path) -> None:
    write_policy(tmp_path, reward_policy("open", ", timeout_s: 0.05"))
    stuck = asyncio.Event()
    scorer = FakeScorer(before=lambda _: stuck.wait())
    async with running_server(tmp_path, scorer) as server:
        reply = await server.check(ask("hello", views=[guardrail.VIEW_SCORES]), timeout=5)
    assert reply.decision.action == decisions.ACTION_ALLOW
    assert result_of(reply, "risk").status == decisions.GUARD_STATUS_TIMEOUT
    assert len(reply.scores) == 0


async def test_one_guards_timeout_leaves_the_scores_to_the_other(tmp_path: Path) -> None:
    write_policy(
        tmp_path,
        """
        name: default
        version: "1"
        request:
          - {kind: reward, name: hasty, head: request_risk, thresholds: {block: 0.8}, timeout_s: 0.05, on_error: open}
          - {kind: reward, name: patient, head: request_risk, thresholds: {block: 0.8}}
        """,
    )

    async def slow() -> None:
        await asyncio.sleep(0.2)  # longer than the hasty guard's limit

    scorer = FakeScorer(before=lambda _: slow())
    async with running_server(tmp_path, scorer) as server:
        reply = await server.check(ask("a bomb"))
    assert result_of(reply, "hasty").status == decisions.GUARD_STATUS_TIMEOUT
    assert result_of(reply, "patient").status == decisions.GUARD_STATUS_OK
    assert (reply.decision.action, reply.decision.reason_code) == (decisions.ACTION_BLOCK, "patient")
    assert len(scorer.calls) == 1


@pytest.mark.parametrize("on_error", ["open", "closed"])
async def test_overload_reaches_the_caller_with_when_to_retry(tmp_path: Path, on_error: str) -> None:
    write_policy(tmp_path, reward_policy(on_error))
    async with running_server(tmp_path, raising(Overloaded("the queue is full", retry_after_s=2.5))) as server:
        refused = await refusal(server.check(ask("hello")))
        counted = server.metric("wardgate_rejections_total", reason="overloaded")
    assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    assert refused.detail(error_details_pb2.RetryInfo).retry_delay.ToMilliseconds() == 2500
    assert counted == 1


@pytest.mark.parametrize("on_error", ["open", "closed"])
async def test_a_late_scorer_is_deadline_exceeded(tmp_path: Path, on_error: str) -> None:
    write_policy(tmp_path, reward_policy(on_error))
    async with running_server(tmp_path, raising(DeadlineExceeded("late"))) as server:
        refused = await refusal(server.check(ask("hello")))
    assert (refused.code, refused.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")


@pytest.mark.parametrize(
    ("does", "code"),
    [("overload", grpc.StatusCode.RESOURCE_EXHAUSTED), ("run_late", grpc.StatusCode.DEADLINE_EXCEEDED)],
)
async def test_a_guard_may_say_that_it_is_overloaded_or_late(tmp_path: Path, does: str, code: grpc.StatusCode) -> None:
    write_policy(tmp_path, policy("open", does))
    async with running_server(tmp_path) as server:
        refused = await refusal(server.check(ask("hello")))
    assert refused.code is code


@pytest.mark.parametrize("on_error", ["open", "closed"])
async def test_the_callers_deadline_is_no_failure_of_a_guard(tmp_path: Path, on_error: str) -> None:
    """Nothing passes for want of time, not even where guards fail open."""
    write_policy(tmp_path, policy(on_error, "hang").replace("timeout_s: 0.05", "timeout_s: 100"))
    settings = GrpcSettings(port=0, default_deadline_s=0.1)
    async with running_server(tmp_path, grpc_settings=settings) as server:
        refused = await refusal(server.check(ask("hello"), timeout=None))
    assert (refused.code, refused.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")


async def test_a_guards_own_timeout_error_is_its_failure_and_not_the_callers_deadline(tmp_path: Path) -> None:
    write_policy(tmp_path, policy("open", "time_out").replace("timeout_s: 0.05", "timeout_s: 100"))
    async with running_server(tmp_path) as server:
        reply = await server.check(ask("hello"), timeout=10)
    assert reply.decision.action == decisions.ACTION_ALLOW
    assert result_of(reply, "bad").status == decisions.GUARD_STATUS_TIMEOUT


async def test_a_redaction_that_cannot_say_where_withholds(tmp_path: Path) -> None:
    write_policy(tmp_path, policy("open", "redact"))
    async with running_server(tmp_path) as server:
        reply = await server.check(ask("hello"))
    assert reply.decision.action == decisions.ACTION_BLOCK


@pytest.mark.parametrize("does", ["raise", "hang"])
@pytest.mark.parametrize(("on_error", "asked", "passes"), [("closed", 0, False), ("open", 1, True)])
async def test_failures_on_the_request_side_decide_whether_the_model_is_asked(
    tmp_path: Path, does: str, on_error: str, asked: int, passes: bool
) -> None:
    write_policy(tmp_path, policy(on_error, does))
    backend = FakeBackend()
    async with running_server(tmp_path, backend=backend) as server:
        reply = await server.generate(guardrail.GenerateRequest(messages=[user("hello")]))
    assert len(backend.asked) == asked
    assert (reply.message.parts[0].text == "Hello there.") is passes


@pytest.mark.parametrize("does", ["raise", "hang"])
@pytest.mark.parametrize(("on_error", "passes"), [("closed", False), ("open", True)])
async def test_failures_on_the_response_side_decide_whether_the_answer_leaves(
    tmp_path: Path, does: str, on_error: str, passes: bool
) -> None:
    write_policy(tmp_path, policy(on_error, does, side="response"))
    async with running_server(tmp_path, backend=FakeBackend()) as server:
        reply = await server.generate(guardrail.GenerateRequest(messages=[user("hello")]))
    assert (reply.message.parts[0].text == "Hello there.") is passes
    assert (reply.finish_reason == guardrail.FINISH_REASON_CONTENT_FILTER) is not passes


@pytest.mark.parametrize("does", ["raise", "hang"])
async def test_a_shadow_guard_that_fails_withholds_nothing(tmp_path: Path, does: str) -> None:
    write_policy(tmp_path, policy("closed", does, ", enforcement: shadow"))
    async with running_server(tmp_path) as server:
        reply = await server.check(ask("hello"))
    assert reply.decision.action == decisions.ACTION_ALLOW
    assert reply.decision.would_action == decisions.ACTION_BLOCK


async def test_what_a_shadow_guard_could_not_score_withholds_nothing(tmp_path: Path) -> None:
    write_policy(tmp_path, reward_policy("closed", ", enforcement: shadow"))
    async with running_server(tmp_path, FakeScorer(tokens_scored=1)) as server:
        reply = await server.check(ask("hello"))
    assert reply.decision.action == decisions.ACTION_ALLOW
    assert reply.decision.would_action == decisions.ACTION_BLOCK


@pytest.mark.parametrize("does", ["quote", "raise"])
async def test_a_guard_that_quotes_the_text_in_its_error_does_not_put_it_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, does: str
) -> None:
    write_policy(tmp_path, policy("closed", does))
    with caplog.at_level(logging.DEBUG):
        async with running_server(tmp_path) as server:
            await server.check(ask(CANARY))
    assert CANARY not in caplog.text
    (record,) = [record for record in caplog.records if record.message == "guard failed"]
    assert record.__dict__["error_type"] == "internal"
    assert "plugin_guards.py" in record.__dict__["traceback"]  # still says where


async def test_an_error_nobody_foresaw_tells_the_caller_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def quote() -> None:
        raise RuntimeError(CANARY)

    write_policy(tmp_path, reward_policy("closed"))
    with caplog.at_level(logging.DEBUG):
        async with running_server(tmp_path, backend=FakeBackend(before=quote)) as server:
            refused = await refusal(server.generate(guardrail.GenerateRequest(messages=[user(CANARY)])))
    assert (refused.code, refused.message, refused.reason) == (grpc.StatusCode.INTERNAL, "internal error", "INTERNAL")
    assert CANARY not in refused.everything + caplog.text
    (record,) = [record for record in caplog.records if record.message == "request failed"]
    assert record.__dict__["error"] == "RuntimeError"
    assert "test_failures.py" in record.__dict__["traceback"]


async def test_nothing_of_a_check_outlives_it(tmp_path: Path) -> None:
    write_policy(tmp_path, reward_policy("open", ", timeout_s: 0.05"))
    cancelled = asyncio.Event()

    async def stuck() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with running_server(tmp_path, FakeScorer(before=lambda _: stuck())) as server:
        started = time.monotonic()
        await server.check(ask("hello"))
        assert cancelled.is_set()
        assert time.monotonic() - started < 5
