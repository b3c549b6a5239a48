"""What decisions promise, whatever the guards find."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.base import Subject
from guards.decision import block_instead, combine, decide
from guards.policy import OnError, Policy, PolicyGuard
from guards.types import (
    Action,
    Cause,
    Coverage,
    Decision,
    Enforcement,
    FailMode,
    Finding,
    GuardResult,
    GuardStatus,
    Span,
    Stage,
)

SAFE = "No."
WHOLE = Coverage(10, 10, 1)
PARTIAL = Coverage(10, 4, 1)


class NamedGuard:
    def __init__(self, name: str, uses_scores: bool) -> None:
        self.name = name
        self.uses_scores = uses_scores

    async def evaluate(self, subject: Subject) -> tuple[Finding, ...]:
        return ()


def policy(enforcement: Enforcement = Enforcement.ENFORCED, incomplete: Action = Action.BLOCK) -> Policy:
    """Guards g0 to g5; the even ones judge by scores."""
    guards = tuple(
        PolicyGuard(NamedGuard(f"g{i}", i % 2 == 0), Stage.REQUEST, Enforcement.ENFORCED, 1.0, OnError())
        for i in range(6)
    )
    return Policy("p", "1", "0" * 64, enforcement, guards, (), incomplete, 1, 0, "r", {"en": SAFE})


spans = st.builds(
    lambda message, part, start, length: Span(message, part, start, start + length),
    st.integers(0, 2), st.integers(0, 1), st.integers(0, 30), st.integers(1, 12),
)  # fmt: skip
findings = st.builds(
    Finding,
    rule=st.sampled_from(["a", "b"]),
    category=st.sampled_from(["x", "y"]),
    action=st.sampled_from(list(Action)),
    risk=st.floats(0, 1),
    spans=st.lists(spans, max_size=4).map(tuple),
    replacement=st.sampled_from(["", "***"]),
)


@st.composite
def results(draw: st.DrawFn) -> GuardResult:
    name = f"g{draw(st.integers(0, 5))}"
    enforcement = draw(st.sampled_from(list(Enforcement)))
    status = draw(st.sampled_from([GuardStatus.OK, GuardStatus.OK, GuardStatus.ERROR, GuardStatus.TIMEOUT]))
    if status is GuardStatus.OK:
        found = tuple(draw(st.lists(findings, max_size=3)))
        return GuardResult(name, Stage.REQUEST, status, found, enforcement)
    mode = draw(st.sampled_from(list(FailMode)))
    return GuardResult(name, Stage.REQUEST, status, (), enforcement, mode, "internal")


many_results = st.lists(results(), max_size=6)
coverages = st.sampled_from([WHOLE, PARTIAL])
policies = st.builds(policy, incomplete=st.sampled_from([Action.BLOCK, Action.FLAG]))


def enforced(found: list[GuardResult]) -> Iterator[Finding]:
    for result in found:
        if result.enforcement is Enforcement.ENFORCED:
            yield from result.findings


@given(policies, many_results, coverages)
def test_a_decision_is_never_weaker_than_the_strongest_enforced_finding(
    policy: Policy, found: list[GuardResult], coverage: Coverage
) -> None:
    decision = decide(policy, found, coverage, "")
    assert decision.action >= max((finding.action for finding in enforced(found)), default=Action.ALLOW)
    assert decision.would_action >= decision.action
    assert bool(decision.safe_message) == decision.action.withholds
    assert bool(decision.redactions) == (decision.action is Action.REDACT)


@given(policies, many_results, coverages)
def test_an_enforced_guard_that_failed_closed_always_withholds(
    policy: Policy, found: list[GuardResult], coverage: Coverage
) -> None:
    failed = GuardResult(
        "g1", Stage.REQUEST, GuardStatus.ERROR, fail_mode_applied=FailMode.CLOSED, error_type="internal"
    )
    decision = decide(policy, [*found, failed], coverage, "")
    assert decision.action is Action.BLOCK
    real = any(finding.action is Action.BLOCK for finding in enforced(found))
    if real:
        assert decision.cause is Cause.POLICY


@given(many_results, coverages)
def test_a_shadow_policy_never_withholds(found: list[GuardResult], coverage: Coverage) -> None:
    decision = decide(policy(Enforcement.SHADOW), found, coverage, "")
    assert (decision.action, decision.enforcement) == (Action.ALLOW, Enforcement.SHADOW)
    assert (decision.safe_message, decision.redactions) == ("", ())
    everything = [replace(result, enforcement=Enforcement.ENFORCED) for result in found]
    assert decision.would_action is decide(policy(), everything, coverage, "").action


@given(policies, many_results, coverages)
def test_shadow_guards_change_nothing_but_what_would_be(
    policy: Policy, found: list[GuardResult], coverage: Coverage
) -> None:
    decision = decide(policy, found, coverage, "")
    without = decide(policy, [r for r in found if r.enforcement is Enforcement.ENFORCED], coverage, "")
    assert (decision.action, decision.cause, decision.reason_code) == (
        without.action,
        without.cause,
        without.reason_code,
    )
    assert decision.redactions == without.redactions


@given(policies, many_results, results(), coverages)
def test_one_more_result_never_weakens_a_decision(
    policy: Policy, found: list[GuardResult], more: GuardResult, coverage: Coverage
) -> None:
    before, after = decide(policy, found, coverage, ""), decide(policy, [*found, more], coverage, "")
    assert after.action >= before.action
    assert after.would_action >= before.would_action


@given(policies, many_results, coverages, st.randoms(use_true_random=False))
def test_the_order_of_results_does_not_change_the_action(policy, found, coverage, random) -> None:  # type: ignore[no-untyped-def]
    shuffled = list(found)
    random.shuffle(shuffled)
    one, other = decide(policy, found, coverage, ""), decide(policy, shuffled, coverage, "")
    assert (one.action, one.would_action, one.cause) == (other.action, other.would_action, other.cause)
    assert [span for span, _ in one.redactions] == [span for span, _ in other.redactions]


@given(st.lists(st.lists(spans, min_size=1, max_size=4), min_size=1, max_size=6))
def test_redactions_are_disjoint_ordered_and_cover_every_span(wanted: list[list[Span]]) -> None:
    found = [
        GuardResult(f"g{i}", Stage.REQUEST, GuardStatus.OK, (Finding("r", "c", Action.REDACT, spans=tuple(spans)),))
        for i, spans in enumerate(wanted)
    ]
    decision = decide(policy(), found, WHOLE, "")
    assert decision.action is Action.REDACT
    kept = [span for span, _ in decision.redactions]
    for before, after in itertools.pairwise(kept):
        assert (before.message, before.part) < (after.message, after.part) or (
            (before.message, before.part) == (after.message, after.part) and before.end <= after.start
        )
    points = {(s.message, s.part, at) for spans in wanted for s in spans for at in range(s.start, s.end)}
    assert points == {(s.message, s.part, at) for s in kept for at in range(s.start, s.end)}
    assert {replacement for _, replacement in decision.redactions} == {"[C]"}


def result(*found: Finding, guard: str = "g1") -> GuardResult:
    return GuardResult(guard, Stage.REQUEST, GuardStatus.OK, found)


def test_the_first_of_overlapping_redactions_names_the_replacement() -> None:
    card = Finding("pay", "card", Action.REDACT, spans=(Span(0, 0, 2, 9),), replacement="<card>")
    phone = Finding("tel", "phone", Action.REDACT, spans=(Span(0, 0, 5, 12), Span(0, 0, 12, 14)))
    decision = decide(policy(), [result(phone), result(card)], WHOLE, "")
    assert decision.redactions == ((Span(0, 0, 2, 12), "<card>"), (Span(0, 0, 12, 14), "[PHONE]"))


def test_a_redaction_that_points_nowhere_withholds() -> None:
    decision = decide(policy(), [result(Finding("r", "c", Action.REDACT))], WHOLE, "")
    assert (decision.action, decision.redactions) == (Action.BLOCK, ())


@pytest.mark.parametrize(("guard", "action"), [("g0", Action.BLOCK), ("g1", Action.ALLOW)])
def test_coverage_matters_to_guards_that_judge_by_scores(guard: str, action: Action) -> None:
    decision = decide(policy(), [result(guard=guard)], PARTIAL, "")
    assert decision.action is action
    assert (decision.cause is Cause.INCOMPLETE_COVERAGE) == (action is Action.BLOCK)


def test_findings_come_worst_first() -> None:
    mild = Finding("a", "c", Action.FLAG, risk=0.9)
    worse = Finding("b", "c", Action.BLOCK, risk=0.8)
    worst = Finding("c", "c", Action.BLOCK, risk=0.95)
    decision = decide(policy(), [result(mild, worse), result(worst)], WHOLE, "")
    assert decision.findings == (worst, worse, mild)


@given(st.lists(st.tuples(policies, many_results, coverages), min_size=1, max_size=4))
def test_a_combination_is_as_strong_as_its_strongest(parts: list[tuple[Policy, list[GuardResult], Coverage]]) -> None:
    decisions = [decide(policy, found, coverage, "") for policy, found, coverage in parts]
    whole = combine(decisions)
    strongest = [decision for decision in decisions if decision.action is whole.action]
    assert whole.action is max(decision.action for decision in decisions)
    assert whole.would_action is max(decision.would_action for decision in decisions)
    assert len(whole.findings) == sum(len(decision.findings) for decision in decisions)
    if any(decision.cause is Cause.POLICY for decision in strongest):
        assert whole.cause is Cause.POLICY


def test_what_can_no_longer_be_done_is_a_block() -> None:
    decision = Decision(Action.REGENERATE, Action.REGENERATE, Enforcement.ENFORCED, Cause.POLICY, "r", "old")
    blocked = block_instead(decision, "spent", SAFE)
    assert (blocked.action, blocked.would_action) == (Action.BLOCK, Action.BLOCK)
    assert (blocked.reason_code, blocked.safe_message, blocked.cause) == ("spent", SAFE, Cause.POLICY)
