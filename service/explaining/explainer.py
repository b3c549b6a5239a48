"""From a request to the work of the explaining process: which text, which head, of which version.

explain:  select policy -> lineup -> text, head -> line -> child process -> answer
view:     the decision's worst head -> line -> child process -> part of the reply
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from guards.errors import (
    DeadlineExceeded,
    GuardError,
    InvalidInput,
    PreconditionFailed,
    ScoringError,
    WardgateError,
)
from guards.explainers.names import FAST
from guards.policy import Policy
from guards.rewards.guard import TURNS, RewardGuard
from guards.types import Action, Decision, Stage
from service.exchange import CheckResult, GenerateResult, RankedCandidate
from service.explaining.exchange import (
    ExplainCall,
    ExplainResult,
    ExplanationView,
    GenerationChoice,
    GenerationExplanation,
    HeadExplanation,
)
from service.explaining.explanations import Explanations
from service.explaining.line import Priority
from service.explaining.work import AttentionChoice, GenerationExplained, GenerationWork, HeadExplained, HeadWork
from service.judged_text import JudgedText
from service.lineup import Lineup, Lineups
from service.logs import fault_fields
from service.policies import PolicyStore
from service.subject import Submission, candidate_text, inputs_of, request_text, subjects_of

log = logging.getLogger(__name__)

_MARGIN_S = 0.1  # of the caller's time, to send him the reply, or word that it did not come in time


class ExplanationObserver(Protocol):
    """Sees every explanation once; must not raise."""

    def explained(self, result: ExplainResult) -> None: ...

    def failed(self, method: str, error: BaseException) -> None: ...


@dataclass(frozen=True, slots=True)
class Explainable:
    """One text and the head to explain it by; `response` with its index among the candidates.

    `turns`: the first message of each turn that the policy acted on, where it did so by the user's turns together.
    """

    lineup: Lineup
    head: str
    prompt: JudgedText
    response: JudgedText | None
    candidate: int = 0
    turns: tuple[int, ...] = ()


class Explainer:
    """`folder_of`: where the artefact of a version lies, by digest; None when it is there no more.

    `generator`: the wrapped model's name where it runs in this process, else why its tokens cannot be explained.
    """

    def __init__(
        self,
        policies: PolicyStore,
        lineups: Lineups,
        folder_of: Callable[[str], Path | None],
        explanations: Explanations,
        observer: ExplanationObserver,
        generator: str | PreconditionFailed,
        view_budget_s: float,
        default_budget_s: float,
    ) -> None:
        self._policies = policies
        self._lineups = lineups
        self._folder_of = folder_of
        self._explanations = explanations
        self._observer = observer
        self._generator = generator
        self._view_budget_s = view_budget_s
        self._default_budget_s = default_budget_s

    async def explain(self, call: ExplainCall) -> ExplainResult:
        method = "generation" if call.generation else call.method
        try:
            result = await (self._generation(call, call.generation) if call.generation else self._head(call))
        except (Exception, asyncio.CancelledError) as error:
            self._observer.failed(method, error)
            raise
        self._observer.explained(result)
        return result

    async def view(
        self,
        policy: Policy,
        lineup: Lineup,
        deadline: float,
        prompt: JudgedText,
        responses: Sequence[JudgedText],
        judged: CheckResult | GenerateResult,
    ) -> ExplanationView:
        """Of the decision's worst finding, or of the policy's head. Never raises, never waits past the deadline."""
        try:
            target = await _read(worst(policy, lineup, prompt, responses, judged))
            found = await self._ask(target, FAST, self._view_budget_s, None, Priority.VIEW, self._until(deadline))
            result = replace(_explanation(target, found, 0), shows_response=_may_show(target, judged))
        except Exception as error:
            self._observer.failed(FAST, error)
            if isinstance(error, WardgateError):
                return error
            log.error("explanation failed", extra=fault_fields(error))
            return ScoringError("the explanation failed")
        self._observer.explained(result)
        return result

    async def _head(self, call: ExplainCall) -> HeadExplanation:
        policy = self._policies.select(call.check.policy, call.check.context.route)
        # Explaining opens the version's files again, so that the version need not stay in memory for it.
        async with self._lineups.choose(call.check) as lineup:
            prompt = await request_text(call.check.messages, call.check.scope, policy)
            responses = [await candidate_text(candidate, 0) for candidate in call.check.candidates]
            response = responses[0] if responses else None
            head = call.head or default_head(policy, lineup, Stage.RESPONSE if response else Stage.REQUEST)
            turns = () if response else await _turns_read(policy, lineup, head, prompt, call.check.deadline)
        target = await _read(Explainable(lineup, head, prompt, response, turns=turns))
        budget_s = self._default_budget_s if call.budget_s is None else call.budget_s
        found = await self._ask(
            target, call.method, budget_s, call.attention, Priority.CALL, call.check.deadline - _MARGIN_S
        )
        return _explanation(target, found, call.top_k)

    async def _generation(self, call: ExplainCall, choice: GenerationChoice) -> GenerationExplanation:
        if isinstance(self._generator, PreconditionFailed):
            raise self._generator
        response = call.check.candidates[0].text
        work = GenerationWork(call.check.messages, response, choice.position, choice.attention, choice.without_sink)
        found = await self._explanations.explain(work, Priority.CALL, call.check.deadline - _MARGIN_S)
        assert isinstance(found, GenerationExplained)
        return GenerationExplanation(self._generator, choice, found)

    async def _ask(
        self,
        target: Explainable,
        method: str,
        budget_s: float,
        attention: AttentionChoice | None,
        priority: Priority,
        deadline: float,
    ) -> HeadExplained:
        primary = target.lineup.primary
        if target.lineup.scorer_of(target.head) is not primary:
            raise PreconditionFailed(
                f"head {target.head} is of a model of `models:`, and only the reward model's can be explained:"
                f" {', '.join(primary.heads)}",
                kind="HEAD",
                subject="head",
            )
        folder = self._folder_of(primary.identity.digest)
        if folder is None:
            raise PreconditionFailed(
                "the version of the reward model that began the request is there no more; ask again",
                kind="REWARD_MODEL",
                subject=primary.identity.digest,
            )
        response = target.response.text.original if target.response else None
        work = HeadWork(
            folder=folder,
            digest=primary.identity.digest,
            prompt=target.prompt.text.original,
            response=response,
            head=target.head,
            method=method,
            budget_s=budget_s,
            attention=attention,
        )
        found = await self._explanations.explain(work, priority, deadline)
        assert isinstance(found, HeadExplained)
        return found

    def _until(self, deadline: float) -> float:
        """When a reply stops waiting for its explanation."""
        now = time.monotonic()
        until = min(now + self._view_budget_s, deadline - _MARGIN_S)
        if until <= now:
            raise DeadlineExceeded("no time was left to explain")
        return until


def worst(
    policy: Policy,
    lineup: Lineup,
    prompt: JudgedText,
    responses: Sequence[JudgedText],
    judged: CheckResult | GenerateResult,
) -> Explainable:
    """The riskiest finding of a head that can be explained; without any, the policy's head for the last text judged.

    Raises as `default_head` does.
    """
    candidates = judged.candidates
    shown = _shown(candidates)
    sides: list[tuple[Decision, JudgedText | None, int]] = [(judged.request.decision, None, 0)]
    if shown is not None:
        sides.append((candidates[shown].verdict.decision, responses[shown], shown))
    found = [
        (finding.risk, Explainable(lineup, finding.category, prompt, response, index, finding.turns))
        for decision, response, index in sides
        for finding in decision.findings
        if finding.raw_reward is not None and finding.category in lineup.primary.heads
    ]
    if found:
        return max(found, key=lambda item: item[0])[1]
    _, response, index = sides[-1]
    stage = Stage.RESPONSE if response else Stage.REQUEST
    return Explainable(lineup, default_head(policy, lineup, stage), prompt, response, index)


async def _turns_read(
    policy: Policy, lineup: Lineup, head: str, prompt: JudgedText, deadline: float
) -> tuple[int, ...]:
    """Whether the policy acts on the user's turns together, and on which: judged once more, as a Check would."""
    guards = [member.guard for member in policy.request if isinstance(member.guard, RewardGuard)]
    guard = next((one for one in guards if one.head == head), None)
    if guard is None or prompt.turns is None:
        return ()
    submission = Submission(lineup, inputs_of(prompt, [prompt]), deadline)
    try:
        (subject,) = subjects_of([prompt], submission)
        return next((finding.turns for finding in await guard.evaluate(subject)), ())
    except (GuardError, ScoringError):  # then it acts on nothing, and the text can be explained all the same
        return ()
    finally:
        await submission.close()


async def _read(target: Explainable) -> Explainable:
    """With the text that is read: a response's conversation, or what the turns make."""
    if target.response is not None:
        return replace(target, prompt=target.prompt.answered)
    if not target.turns or target.prompt.turns is None:
        return target
    return replace(target, prompt=await target.prompt.turns.only(target.turns))


def _may_show(target: Explainable, judged: CheckResult | GenerateResult) -> bool:
    """A response of our own model reaches the caller as the policy says, or not at all; his own he has already."""
    if isinstance(judged, CheckResult) or target.response is None:
        return True
    return judged.decision.action <= Action.FLAG


def default_head(policy: Policy, lineup: Lineup, stage: Stage) -> str:
    """Of the policy's first reward guard on a side. Raises InvalidInput or PreconditionFailed when it has none."""
    heads = [member.guard.head for member in policy.guards(stage) if isinstance(member.guard, RewardGuard)]
    own = [head for head in heads if head in lineup.primary.heads]
    if own:
        return own[0]
    known = ", ".join(lineup.primary.heads)
    if heads:
        fault = f"policy {policy.name} judges {stage.value}s by models of `models:`, which cannot be explained"
        raise PreconditionFailed(f"{fault}; name a head: {known}", kind="HEAD", subject="head")
    raise InvalidInput(f"policy {policy.name} has no reward guard for {stage.value}s; name a head: {known}")


def _shown(candidates: Sequence[RankedCandidate]) -> int | None:
    """The candidate that decided: the first ranked, or the mildest of those withheld."""
    if not candidates:
        return None
    ranked = [index for index, candidate in enumerate(candidates) if candidate.rank == 1]
    return ranked[0] if ranked else min(
        range(len(candidates)), key=lambda index: candidates[index].verdict.decision.action
    )  # fmt: skip


def _explanation(target: Explainable, found: HeadExplained, top_k: int) -> HeadExplanation:
    if target.turns:
        reading = ",".join(filter(None, (TURNS, found.explanation.reading)))
        found = replace(found, explanation=replace(found.explanation, reading=reading))
    return HeadExplanation(
        stage=Stage.RESPONSE if target.response else Stage.REQUEST,
        candidate=target.candidate,
        model=target.lineup.primary.identity,
        prompt=target.prompt,
        response=target.response,
        found=found,
        top_k=top_k,
    )
