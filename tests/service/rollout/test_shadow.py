"""A version on trial says what it would have decided, in series of its own, and touches nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

import pytest

from guards.base import ScoreInput
from guards.errors import ScoringError
from guards.types import Message, Role, Scope, TextPart, TextScores
from service.app import App
from service.config import Settings
from service.lineup import Lineup
from service.rollout.loaded import KNOWN_SAFE, KNOWN_UNSAFE
from service.rollout.shadow import Judged
from service.subject import request_text
from tests.fakes import write_policy
from tests.service.rollout.test_rollout import client_of, sample, series
from tests.service.rollout.versions import REQUEST_POLICY, Versions
from tests.waiting import until
from wardgate.v1.decision_pb2 import ACTION_ALLOW, ACTION_BLOCK, ACTION_FLAG

OpenApp = Callable[[Settings], AbstractAsyncContextManager[App]]
STRICT, LENIENT = 4.0, -3.0  # shifts of the risk: the safe text too, or the unsafe one no more

WITH_WORDS = REQUEST_POLICY.replace(
    "request: [", "request: [{kind: patterns, name: words, category: word, keywords: [soup], action: flag}, "
)


def evaluated(app: App, result: str) -> float:
    found = series(app, "wardgate_shadow_evaluations_total")
    return sum(value for labels, value in found.items() if labels[-1] == result)


def finished(app: App) -> float:
    return sum(evaluated(app, result) for result in ("agreed", "disagreed", "failed", "dropped", "incomparable"))


@pytest.mark.parametrize(
    ("shift", "directions"), [(0.0, {}), (STRICT, {"would_block": 1.0}), (LENIENT, {"would_allow": 1.0})]
)
async def test_a_shadows_disagreements_are_counted_by_direction_and_change_no_reply(
    open_app: OpenApp, versions: Versions, shift: float, directions: dict[str, float]
) -> None:
    second = versions.add("2", shift=shift)
    async with open_app(versions.settings()) as app, client_of(app) as client:
        active = app.rollout.standing.active.digest
        await client.set_rollout("2", "shadow")
        replies = [await client.check(text) for text in (KNOWN_SAFE, KNOWN_UNSAFE)]
        await until(lambda: finished(app) == 2)
        counted = series(app, "wardgate_shadow_disagreements_total")
        assert sample(app, "wardgate_requests_total", policy="default", stage="request", action="block",
                      enforcement="enforced", cause="policy") == 1  # fmt: skip
    assert [reply.decision.action for reply in replies] == [ACTION_ALLOW, ACTION_BLOCK]
    assert {reply.provenance.reward_model_digest for reply in replies} == {active}
    assert {labels[-1]: value for labels, value in counted.items() if value} == directions
    assert {labels[-1] for labels in counted} == {"would_block", "would_allow"}
    assert {labels[:2] for labels in counted} <= {("2", second)}
    assert (evaluated(app, "agreed"), evaluated(app, "disagreed")) == (2 - len(directions), len(directions))


async def test_a_policy_in_shadow_is_compared_by_what_it_would_do(open_app: OpenApp, versions: Versions) -> None:
    versions.add("2", shift=STRICT)
    write_policy(versions.policies, REQUEST_POLICY + "enforcement: shadow\n")
    async with open_app(versions.settings()) as app, client_of(app) as client:
        await client.set_rollout("2", "shadow")
        reply = await client.check(KNOWN_SAFE)
        await until(lambda: finished(app) == 1)
    assert reply.decision.action == ACTION_ALLOW
    assert evaluated(app, "disagreed") == 1


async def test_guards_that_use_no_model_keep_their_results(open_app: OpenApp, versions: Versions) -> None:
    versions.add("2")
    write_policy(versions.policies, WITH_WORDS)
    async with open_app(versions.settings()) as app, client_of(app) as client:
        await client.set_rollout("2", "shadow")
        reply = await client.check(KNOWN_SAFE)
        await until(lambda: finished(app) == 1)
        flagged = sample(app, "wardgate_guard_evaluations_total", guard="words", stage="request", result="flagged")
    assert reply.decision.action == ACTION_FLAG
    assert evaluated(app, "agreed") == 1
    assert flagged == 1  # the shadow's own evaluations are in no series but its own


async def test_a_shadow_that_fails_touches_nothing(open_app: OpenApp, versions: Versions) -> None:
    versions.add("2")
    async with open_app(versions.settings()) as app, client_of(app) as client:
        await client.set_rollout("2", "shadow")
        (shadow,) = app.rollout.standing.shadows

        async def broken(inputs: Sequence[ScoreInput], deadline: float) -> tuple[TextScores, ...]:
            raise ScoringError("broken")

        shadow.scorer.score = broken  # type: ignore[method-assign]
        replies = [await client.check(KNOWN_UNSAFE) for _ in range(3)]
        await until(lambda: finished(app) == 3)
        assert app.ready
        assert sample(app, "wardgate_fail_closed_total", guard="risk", error_type="scoring") == 0
    assert {reply.decision.action for reply in replies} == {ACTION_BLOCK}
    assert evaluated(app, "failed") == 3


async def test_a_shadow_that_is_stuck_delays_nobody_and_what_is_too_much_is_dropped_and_counted(
    open_app: OpenApp, versions: Versions
) -> None:
    versions.add("2")
    async with open_app(versions.settings()) as app, client_of(app) as client:
        await client.set_rollout("2", "shadow")
        (shadow,) = app.rollout.standing.shadows
        free = asyncio.Event()
        score = shadow.scorer.score

        async def stuck(inputs: Sequence[ScoreInput], deadline: float) -> tuple[TextScores, ...]:
            await free.wait()
            return await score(inputs, deadline)

        shadow.scorer.score = stuck  # type: ignore[method-assign]
        replies = [await client.check(KNOWN_SAFE) for _ in range(150)]
        dropped = evaluated(app, "dropped")
        free.set()
        await until(lambda: finished(app) == 150, within_s=60)
    assert {reply.decision.action for reply in replies} == {ACTION_ALLOW}
    assert dropped == 150 - 128 - 4  # beyond the line and those at work
    assert evaluated(app, "agreed") == 132


async def test_a_canarys_decisions_are_not_compared(open_app: OpenApp, versions: Versions) -> None:
    versions.add("2")
    versions.add("3")
    async with open_app(versions.settings()) as app, client_of(app) as client:
        await client.set_rollout("2", "canary", percent=100)
        await client.set_rollout("3", "shadow")
        await client.check(KNOWN_SAFE)
        await client.set_rollout("2", "none")
        await client.check(KNOWN_SAFE)
        await until(lambda: finished(app) == 1)
    assert evaluated(app, "agreed") == 1


async def test_what_the_active_version_could_not_judge_is_not_compared(open_app: OpenApp, versions: Versions) -> None:
    versions.add("2")
    write_policy(versions.policies, REQUEST_POLICY.replace("{block: 0.8}}", "{block: 0.8}, on_error: open}"))
    async with open_app(versions.settings()) as app, client_of(app) as client:
        await client.set_rollout("2", "shadow")
        active = app.rollout.standing.active
        score = active.scorer.score

        async def broken(inputs: Sequence[ScoreInput], deadline: float) -> tuple[TextScores, ...]:
            raise ScoringError("broken")

        active.scorer.score = broken  # type: ignore[method-assign]
        await client.check(KNOWN_UNSAFE)
        active.scorer.score = score  # type: ignore[method-assign]
        await client.check(KNOWN_UNSAFE)
        await until(lambda: finished(app) == 2)
    assert (evaluated(app, "incomparable"), evaluated(app, "agreed")) == (1, 1)


async def test_a_fault_in_judging_for_a_shadow_stops_neither_the_server_nor_the_shadow(
    open_app: OpenApp, versions: Versions
) -> None:
    versions.add("2")
    async with open_app(versions.settings()) as app, client_of(app) as client:
        await client.set_rollout("2", "shadow")
        lineup = Lineup(app.rollout.standing.active.scorer)
        text = await request_text([Message(Role.USER, (TextPart("hello"),))], Scope.NEW_TURNS)
        for _ in range(8):  # a text without its verdict: more of them than there are at work at once
            app.shadows.offer(Judged(app.policies.in_force[0], lineup, "", [], [text], []))
        await until(lambda: evaluated(app, "failed") == 8)
        await client.check(KNOWN_UNSAFE)
        await until(lambda: evaluated(app, "agreed") == 1)
