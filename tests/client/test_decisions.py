from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest

from wardgate import decision_allows, decision_redacts
from wardgate.decisions import Verdict
from wardgate.v1 import decision_pb2, guardrail_pb2
from wardgate.v1.decision_pb2 import (
    ACTION_ALLOW,
    ACTION_BLOCK,
    ACTION_ESCALATE,
    ACTION_FLAG,
    ACTION_REDACT,
    ACTION_REGENERATE,
    ACTION_REPLACE,
    ACTION_UNSPECIFIED,
    ENFORCEMENT_ENFORCED,
    ENFORCEMENT_SHADOW,
)

KINDS = (guardrail_pb2.CheckResponse, guardrail_pb2.CandidateResult, guardrail_pb2.GenerateResponse)


def verdict(
    kind: Callable[..., Verdict],
    action: decision_pb2.Action,
    enforcement: decision_pb2.Enforcement = ENFORCEMENT_ENFORCED,
) -> Verdict:
    return kind(decision=decision_pb2.Decision(action=action, enforcement=enforcement))


@pytest.mark.parametrize("kind", KINDS)
def test_only_allow_and_flag_pass_as_they_are(kind: Callable[..., Verdict]) -> None:
    actions = cast("list[decision_pb2.Action]", decision_pb2.Action.values())
    passing = {action for action in actions if decision_allows(verdict(kind, action))}
    assert passing - {ACTION_REDACT} == {ACTION_ALLOW, ACTION_FLAG}


def test_a_redacted_generation_may_be_shown_but_checked_text_may_not_go_out_as_it_is() -> None:
    assert decision_allows(verdict(guardrail_pb2.GenerateResponse, ACTION_REDACT))
    for kind in (guardrail_pb2.CheckResponse, guardrail_pb2.CandidateResult):
        assert not decision_allows(verdict(kind, ACTION_REDACT))
        assert decision_redacts(verdict(kind, ACTION_REDACT))


@pytest.mark.parametrize("action", [ACTION_REDACT, ACTION_REPLACE, ACTION_REGENERATE, ACTION_ESCALATE, ACTION_BLOCK])
def test_shadow_lets_everything_pass(action: decision_pb2.Action) -> None:
    shadowed = verdict(guardrail_pb2.CheckResponse, action, ENFORCEMENT_SHADOW)
    assert decision_allows(shadowed)
    assert not decision_redacts(shadowed)


def test_no_decision_does_not_allow() -> None:
    assert not decision_allows(guardrail_pb2.CheckResponse())
    assert not decision_allows(verdict(guardrail_pb2.CheckResponse, ACTION_UNSPECIFIED, ENFORCEMENT_SHADOW))
