"""A version on trial: judges again what was judged, says what it would have decided, and touches nothing.

Jobs wait in a bounded line and are dropped, and counted, when it is full: no request ever waits for a shadow. Its
forwards yield to all others (service/forward_slots.py). Only guards that use the reward model are evaluated again; the
results of the others stand, so that a disagreement is the version's and nothing else's.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from guards.base import ScoreInput
from guards.decision import decide
from guards.policy import Policy, PolicyGuard
from guards.rewards.guard import RewardGuard
from guards.types import Action, Decision, Enforcement, GuardStatus, ModelIdentity
from service.exchange import ModelRole, Verdict, least_complete
from service.judged_text import JudgedText
from service.lineup import Lineup
from service.logs import fault_fields
from service.panel import judge
from service.rollout.loaded import LoadedModel
from service.rollout.metrics import RolloutMetrics
from service.rollout.rollout import Rollout
from service.subject import Submission, TextSubject, subjects_of

log = logging.getLogger(__name__)

_MOST_WAITING = 128  # jobs, each with its texts
_AT_ONCE = 4  # jobs, so that the batcher has something to batch
_DEADLINE_S = 30.0  # of one job, once it is begun


@dataclass(frozen=True, slots=True)
class Judged:
    """Texts with their verdicts, as the pipeline made them; `inputs` are those of `inputs_of`."""

    policy: Policy
    lineup: Lineup
    locale: str
    inputs: Sequence[ScoreInput]
    texts: Sequence[JudgedText]
    verdicts: Sequence[Verdict]


class Audience(Protocol):
    """Who hears of verdicts."""

    def offer(self, judged: Judged) -> None:
        """Returns at once; must not raise."""
        ...


class Shadows:
    """Implements Audience for the shadow versions of the rollout's standing."""

    def __init__(self, rollout: Rollout, metrics: RolloutMetrics) -> None:
        self._rollout = rollout
        self._metrics = metrics
        self._line: asyncio.Queue[Judged] = asyncio.Queue(_MOST_WAITING)

    def offer(self, judged: Judged) -> None:
        """What the active version decided; a canary's own decisions would be compared with another baseline."""
        shadows = self._rollout.standing.shadows
        if not shadows or judged.lineup.role is not ModelRole.ACTIVE:
            return
        try:
            self._line.put_nowait(judged)
        except asyncio.QueueFull:
            for model in shadows:
                self._metrics.shadowed(model.scorer.identity, "dropped", len(judged.texts))

    async def run(self) -> None:
        """Works until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(_AT_ONCE):
                tasks.create_task(self._work())

    async def _work(self) -> None:
        while True:
            judged = await self._line.get()
            async with self._rollout.shadows() as shadows:
                for model in shadows:
                    try:
                        await self._evaluate(judged, model)
                    except Exception as error:  # a fault of ours, and still no reason to touch anything else
                        log.error("judging for a shadow broke", extra={"digest": model.digest} | fault_fields(error))
                        self._metrics.shadowed(model.scorer.identity, "failed")

    async def _evaluate(self, judged: Judged, model: LoadedModel) -> None:
        identity = model.scorer.identity
        lineup = Lineup(model.scorer, ModelRole.SHADOW, judged.lineup.others)
        deadline = time.monotonic() + _DEADLINE_S
        submission = Submission(lineup, judged.inputs, deadline)
        try:
            for subject, verdict in zip(subjects_of(judged.texts, submission), judged.verdicts, strict=True):
                members = _on_the_reward_model(judged, verdict)
                if members:
                    again = _Again(judged, verdict, members, subject, deadline)
                    self._metrics.shadowed(identity, await self._compare(again, identity))
        finally:
            await submission.close()

    async def _compare(self, again: _Again, model: ModelIdentity) -> str:
        """The result as one word."""
        if again.failed_before:
            return "incomparable"
        try:
            would_be = await again.decision()
        except Exception as error:  # whatever it is, it is the shadow's and nobody else's
            log.warning("a shadow failed", extra={"digest": model.digest} | fault_fields(error))
            return "failed"
        if would_be is None:
            return "failed"
        passed, would_pass = (not _outcome(decision).withholds for decision in (again.verdict.decision, would_be))
        if passed == would_pass:
            return "agreed"
        self._metrics.disagreed(model, "would_block" if passed else "would_allow")
        return "disagreed"


@dataclass(frozen=True, slots=True)
class _Again:
    """One text before a shadow."""

    judged: Judged
    verdict: Verdict
    members: Sequence[PolicyGuard]
    subject: TextSubject
    deadline: float

    @property
    def failed_before(self) -> bool:
        """Whether a guard had no scores of the active version, so that there is nothing to compare with."""
        names = {member.guard.name for member in self.members}
        return any(one.guard in names and one.status is not GuardStatus.OK for one in self.verdict.guards)

    async def decision(self) -> Decision | None:
        """None when a guard failed."""
        await self.subject.primary_scores()  # first and once: a guard's own time is no measure for one that yields
        results = await judge(self.members, self.subject, self.deadline)
        if any(result.status is not GuardStatus.OK for result in results):
            return None
        again = {result.guard: result for result in results}
        primary = self.judged.lineup.primary.identity
        others = [by for by in self.verdict.scored if by.model != primary]
        return decide(
            self.judged.policy,
            [again.get(result.guard, result) for result in self.verdict.guards],
            least_complete([*self.subject.scored(), *others]),
            self.judged.locale,
        )


def _on_the_reward_model(judged: Judged, verdict: Verdict) -> list[PolicyGuard]:
    return [member for member in judged.policy.guards(verdict.stage) if _uses_primary(member, judged.lineup)]


def _uses_primary(member: PolicyGuard, lineup: Lineup) -> bool:
    guard = member.guard
    return lineup.scorer_of(guard.head) is lineup.primary if isinstance(guard, RewardGuard) else guard.uses_scores


def _outcome(decision: Decision) -> Action:
    """What the policy stands for, also while it is in shadow itself."""
    return decision.would_action if decision.enforcement is Enforcement.SHADOW else decision.action
