"""Which of several candidates is the best, and which one would be shown."""

from __future__ import annotations

from collections.abc import Sequence

from guards.types import Action, Candidate, Decision
from service.exchange import RankedCandidate, Verdict
from service.redaction import redact_candidate


def rank(rank_by: str, verdicts: Sequence[Verdict], candidates: Sequence[Candidate]) -> tuple[RankedCandidate, ...]:
    """Candidates in their own order, those not withheld ranked by the reward of head `rank_by`.

    Whole ones come before redacted ones, scored ones before unscored ones.
    """
    rewards = [_reward(rank_by, verdict) for verdict in verdicts]
    passing = [index for index, verdict in enumerate(verdicts) if not verdict.decision.action.withholds]
    passing.sort(key=lambda index: _order(verdicts[index].decision, rewards[index]))
    ranks = {index: place for place, index in enumerate(passing, start=1)}
    return tuple(
        RankedCandidate(verdict, rewards[index], ranks.get(index, 0), _redacted(candidate, index, verdict.decision))
        for index, (verdict, candidate) in enumerate(zip(verdicts, candidates, strict=True))
    )


def first_ranked(candidates: Sequence[RankedCandidate]) -> int | None:
    """Index of the candidate to show; None when all are withheld or there are none."""
    return next((index for index, candidate in enumerate(candidates) if candidate.rank == 1), None)


def deciding(candidates: Sequence[RankedCandidate]) -> tuple[Decision, ...]:
    """The decision on the candidate to show, or the mildest when all are withheld; empty without candidates."""
    shown = first_ranked(candidates)
    if shown is not None:
        return (candidates[shown].verdict.decision,)
    decisions = [candidate.verdict.decision for candidate in candidates]
    return (min(decisions, key=lambda decision: decision.action),) if decisions else ()


def _reward(head: str, verdict: Verdict) -> float | None:
    score = verdict.scores.get(head)
    return score.reward if score else None


def _order(decision: Decision, reward: float | None) -> tuple[bool, float]:
    return decision.action is Action.REDACT, float("inf") if reward is None else -reward


def _redacted(candidate: Candidate, index: int, decision: Decision) -> Candidate | None:
    return redact_candidate(candidate, index, decision) if decision.action is Action.REDACT else None
