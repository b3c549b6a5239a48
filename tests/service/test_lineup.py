"""Several models beside each other: who asks which, and whose failure is whose."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from guards.base import ScoreInput
from guards.errors import ScoringError, UnknownName
from guards.types import ModelIdentity
from service.lineup import Lineup
from tests.fakes import FAKE_MODEL, REWARD_POLICY, FakeScorer, ask, running_server, write_policy
from tests.waiting import until
from wardgate.v1 import decision_pb2 as decisions

SECOND_MODEL = ModelIdentity("second", "2", "5" * 64, "none", "0")
SECOND_GUARD = "  - {kind: reward, name: second-risk, head: second_risk, thresholds: {block: 0.9}, on_error: open"
TWO_MODELS = REWARD_POLICY.replace("response:", SECOND_GUARD + "}\nresponse:")


def second_model(**more: object) -> FakeScorer:
    return FakeScorer(identity=SECOND_MODEL, heads=("second_risk", "second_reward"), **more)  # type: ignore[arg-type]


def fail(_: Sequence[ScoreInput]) -> None:
    raise ScoringError("broken")


def test_a_head_belongs_to_the_model_that_has_it_and_to_the_primary_first() -> None:
    primary, second, twin = FakeScorer(), second_model(), FakeScorer()
    lineup = Lineup(primary, others={"second": second, "twin": twin})
    assert lineup.scorer_of("request_risk") is primary
    assert lineup.scorer_of("second_reward") is second
    with pytest.raises(UnknownName, match="second_risk"):
        lineup.scorer_of("kindness")


async def test_guards_of_several_models_judge_one_text_and_the_reply_names_every_model(tmp_path: Path) -> None:
    write_policy(tmp_path, TWO_MODELS)
    async with running_server(tmp_path, others={"second": second_model()}) as server:
        reply = await server.check(ask("a bomb", views=["VIEW_SCORES"]))
        rewards = [server.metric("wardgate_reward_count", model=name, stage="request") for name in ("fake", "second")]
    assert [finding.category for finding in reply.decision.findings] == ["request_risk", "second_risk"]
    assert [score.head for score in reply.scores] == ["request_risk", "second_risk"]
    assert reply.provenance.reward_model_digest == FAKE_MODEL.digest
    assert [(model.name, model.version, model.digest) for model in reply.provenance.further_models] == [
        ("second", "2", "5" * 64)
    ]
    assert rewards == [1, 1]


async def test_each_model_scores_the_texts_of_a_call_once(tmp_path: Path) -> None:
    write_policy(tmp_path, TWO_MODELS.replace("response:", SECOND_GUARD.replace("-risk", "-again") + "}\nresponse:"))
    first, second = FakeScorer(), second_model()
    async with running_server(tmp_path, first, others={"second": second}) as server:
        await server.check(ask("a bomb", "fine", "good"))
    assert [len(call) for call in first.calls] == [3]
    assert [len(call) for call in second.calls] == [3]


async def test_a_model_that_fails_fails_only_its_own_guards(tmp_path: Path) -> None:
    write_policy(tmp_path, TWO_MODELS)
    async with running_server(tmp_path, others={"second": second_model(before=fail)}) as server:
        reply = await server.check(ask("hello"))
    assert [(guard.guard, guard.status) for guard in reply.guards] == [
        ("request-risk", decisions.GUARD_STATUS_OK),
        ("second-risk", decisions.GUARD_STATUS_ERROR),
    ]
    assert reply.guards[1].fail_mode_applied == decisions.FAIL_MODE_OPEN
    assert reply.decision.action == decisions.ACTION_ALLOW
    assert not reply.provenance.further_models


async def test_a_slow_model_costs_its_own_guard_the_limit_and_the_others_nothing(tmp_path: Path) -> None:
    write_policy(tmp_path, TWO_MODELS.replace("on_error: open", "on_error: open, timeout_s: 0.2"))
    slow = second_model(before=lambda _: asyncio.Event().wait())
    async with running_server(tmp_path, others={"second": slow}) as server:
        await server.check(ask("hello"))
        before = len(asyncio.all_tasks())
        reply = await server.check(ask("a bomb", views=["VIEW_SCORES"]))
        await until(lambda: len(asyncio.all_tasks()) <= before)
    assert [guard.status for guard in reply.guards] == [decisions.GUARD_STATUS_OK, decisions.GUARD_STATUS_TIMEOUT]
    assert reply.decision.action == decisions.ACTION_BLOCK
    assert [score.head for score in reply.scores] == ["request_risk"]


async def test_the_primarys_failure_leaves_the_other_models_guards_alone(tmp_path: Path) -> None:
    write_policy(tmp_path, TWO_MODELS)
    async with running_server(tmp_path, FakeScorer(before=fail), others={"second": second_model()}) as server:
        reply = await server.check(ask("a bomb", views=["VIEW_SCORES"]))
    assert [guard.status for guard in reply.guards] == [decisions.GUARD_STATUS_ERROR, decisions.GUARD_STATUS_OK]
    assert reply.guards[0].fail_mode_applied == decisions.FAIL_MODE_CLOSED
    assert [finding.category for finding in reply.decision.findings] == ["second_risk"]


async def test_coverage_is_that_of_the_model_that_saw_least(tmp_path: Path) -> None:
    write_policy(tmp_path, TWO_MODELS)
    async with running_server(tmp_path, others={"second": second_model(tokens_scored=4)}) as server:
        reply = await server.check(ask("hello"))
    assert (reply.coverage.tokens_total, reply.coverage.tokens_scored, reply.coverage.complete) == (10, 4, False)
    assert reply.decision.cause == decisions.CAUSE_INCOMPLETE_COVERAGE


async def test_a_model_that_no_guard_asks_costs_nothing_and_is_not_named(tmp_path: Path) -> None:
    write_policy(tmp_path)
    idle = second_model()
    async with running_server(tmp_path, others={"second": idle}) as server:
        reply = await server.check(ask("a bomb", views=["VIEW_SCORES"]))
    assert idle.calls == []
    assert [score.head for score in reply.scores] == ["request_risk"]
    assert not reply.provenance.further_models
