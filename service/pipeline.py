"""One request, as one straight line.

check:     select policy -> place, lineup -> judge messages and candidates together -> rank -> answer
generate:  select policy -> place, lineup -> judge messages -> ask the model -> judge its responses -> choose -> answer

An explanation, where one is to be shown, comes after everything else and decides nothing.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from guards.decision import (
    REGENERATIONS_SPENT,
    block_instead,
    combine,
    decide,
    merge_redactions,
    only_redactions,
)
from guards.errors import PreconditionFailed, ScoringError
from guards.policy import Policy
from guards.scripts import dominant_script
from guards.types import Action, Candidate, Coverage, GuardStatus, Message
from service.admission import Admission
from service.backends.base import Backend, Generation, SamplingParameters
from service.exchange import (
    CheckCall,
    CheckResult,
    GenerateCall,
    GenerateResult,
    Provenance,
    RankedCandidate,
    Timing,
    Verdict,
    least_complete,
)
from service.explaining.explainer import Explainer
from service.judged_text import JudgedText
from service.lineup import Lineup, Lineups
from service.panel import judge, skipped, together
from service.policies import PolicyStore
from service.ranking import deciding, first_ranked, rank
from service.redaction import redact_messages
from service.rollout.shadow import Audience, Judged
from service.subject import (
    Submission,
    TextSubject,
    candidate_text,
    earlier_text,
    inputs_of,
    request_text,
    subjects_of,
)


class Observer(Protocol):
    """Sees every finished request once; must not raise."""

    def checked(self, call: CheckCall, result: CheckResult) -> None: ...

    def generated(self, call: GenerateCall, result: GenerateResult) -> None: ...


@dataclass(frozen=True, slots=True)
class _Writing:
    """What the wrapped model wrote for one request; candidates, generations and texts are the last attempt's."""

    candidates: tuple[RankedCandidate, ...] = ()
    generations: tuple[Generation, ...] = ()
    texts: tuple[JudgedText, ...] = ()
    prompt_tokens: int = 0
    completion_tokens: int = 0
    attempts: int = 0
    seconds: float = 0.0


class Pipeline:
    def __init__(
        self,
        policies: PolicyStore,
        lineups: Lineups,
        admission: Admission,
        observer: Observer,
        backend: Backend | None = None,
        audience: Audience | None = None,
        explainer: Explainer | None = None,
    ) -> None:
        """`audience` hears of verdicts, for shadow versions to judge again."""
        self._policies = policies
        self._lineups = lineups
        self._admission = admission
        self._observer = observer
        self._backend = backend
        self._audience = audience
        self._explainer = explainer

    async def check(self, call: CheckCall) -> CheckResult:
        """Judges the messages and every candidate; nothing is generated."""
        started = time.monotonic()
        policy = self._policies.select(call.policy, call.context.route)
        async with self._admission.place(call.deadline) as waited_s, self._lineups.choose(call) as lineup:
            prompt = await request_text(call.messages, call.scope, policy)
            responses = [await candidate_text(candidate, i) for i, candidate in enumerate(call.candidates)]
            request, *verdicts = await self._judge(policy, lineup, call, prompt, [prompt, *responses])
        result = _checked(policy, lineup, call, request, verdicts, started, waited_s)
        self._observer.checked(call, result)
        if call.want_explanation and self._explainer:
            shown = await self._explainer.view(policy, lineup, call.deadline, prompt, responses, result)
            return replace(result, explanation=shown)
        return result

    async def generate(self, call: GenerateCall) -> GenerateResult:
        """Judges the messages, asks the wrapped model, judges its responses and chooses one."""
        started = time.monotonic()
        policy = self._policies.select(call.policy, call.context.route)
        backend = self._require_backend()
        async with self._admission.place(call.deadline) as waited_s, self._lineups.choose(call) as lineup:
            prompt = await request_text(call.messages, call.scope, policy)
            (request,) = await self._judge(policy, lineup, call, prompt, [prompt])
            request = await self._redact_history(policy, lineup, call, request)
            writing = _Writing()
            if not request.decision.action.withholds:
                messages = redact_messages(call.messages, request.decision)
                writing = await self._write(policy, lineup, backend, call, prompt, messages)
        result = _generated(policy, lineup, call, request, writing, backend.name, started, waited_s)
        self._observer.generated(call, result)
        if call.want_explanation and self._explainer:
            shown = await self._explainer.view(policy, lineup, call.deadline, prompt, writing.texts, result)
            return replace(result, explanation=shown)
        return result

    async def _redact_history(self, policy: Policy, lineup: Lineup, call: GenerateCall, request: Verdict) -> Verdict:
        """Adds what the policy redacts in earlier turns, which callers send whole again with every call.

        Old evidence blocks nothing anew; a guard that fails closed on it does.
        """
        rules = [member for member in policy.request if not member.guard.uses_scores]
        earlier = None if request.decision.action.withholds else await earlier_text(call.messages, call.scope)
        if not rules or earlier is None:
            return request
        submission = Submission(lineup, [], call.deadline)  # rules ask for no scores
        results = await judge(rules, TextSubject(earlier, submission, 0), call.deadline)
        decision = decide(policy, only_redactions(results), Coverage(), call.context.locale)
        return replace(request, decision=merge_redactions(request.decision, decision))

    async def _write(
        self,
        policy: Policy,
        lineup: Lineup,
        backend: Backend,
        call: GenerateCall,
        prompt: JudgedText,
        messages: Sequence[Message],
    ) -> _Writing:
        """Asks the model and judges what it wrote; again while the verdict is REGENERATE and attempts are left."""
        writing = _Writing()
        for _ in range(1 + policy.max_regenerations):
            sampling = _reseeded(call.sampling, writing.attempts)
            started = time.monotonic()
            generations = await backend.generate(messages, sampling, policy.candidates, call.deadline)
            generated_s = time.monotonic() - started
            responses = [Candidate(generation.parts) for generation in generations]
            texts = [await candidate_text(response, i) for i, response in enumerate(responses)]
            verdicts = await self._judge(policy, lineup, call, prompt, texts)
            writing = _Writing(
                candidates=rank(policy.rank_by, verdicts, responses),
                generations=generations,
                texts=tuple(texts),
                prompt_tokens=writing.prompt_tokens + sum(g.prompt_tokens for g in generations),
                completion_tokens=writing.completion_tokens + sum(g.completion_tokens for g in generations),
                attempts=writing.attempts + len(generations),
                seconds=writing.seconds + generated_s,
            )
            if deciding(writing.candidates)[0].action is not Action.REGENERATE:
                break
        return writing

    async def _judge(
        self,
        policy: Policy,
        lineup: Lineup,
        call: CheckCall | GenerateCall,
        prompt: JudgedText,
        texts: Sequence[JudgedText],
    ) -> tuple[Verdict, ...]:
        """One verdict per text, all in one submission: the prompt by itself, responses after the conversation."""
        inputs = inputs_of(prompt, texts)
        submission = Submission(lineup, inputs, call.deadline)
        try:
            verdicts = await together(
                self._verdict(policy, call, subject) for subject in subjects_of(texts, submission)
            )
        finally:
            await submission.close()
        if self._audience:
            self._audience.offer(Judged(policy, lineup, call.context.locale, inputs, texts, verdicts))
        return verdicts

    async def _verdict(self, policy: Policy, call: CheckCall | GenerateCall, subject: TextSubject) -> Verdict:
        results = await judge(policy.guards(subject.stage), subject, call.deadline)
        late = any(result.status is GuardStatus.TIMEOUT for result in results)
        if call.want_scores and not late:
            await _view(subject)
        scored = subject.scored()
        decision = decide(policy, results, least_complete(scored), call.context.locale)
        return Verdict(subject.stage, decision, results, scored, dominant_script(subject.text.text))

    def _require_backend(self) -> Backend:
        if self._backend is None:
            raise PreconditionFailed(
                "no wrapped model is configured; set backend.kind in the server's config, or call Check",
                kind="BACKEND",
                subject="backend",
            )
        return self._backend


def _checked(
    policy: Policy,
    lineup: Lineup,
    call: CheckCall,
    request: Verdict,
    verdicts: Sequence[Verdict],
    started: float,
    waited_s: float,
) -> CheckResult:
    candidates = rank(policy.rank_by, verdicts, call.candidates)
    judged = [request, *verdicts]
    redacts = request.decision.action is Action.REDACT
    return CheckResult(
        request_id=call.request_id,
        decision_id=_new_decision_id(),
        decision=combine([request.decision, *deciding(candidates)]),
        request=request,
        candidates=candidates,
        provenance=_provenance(policy, lineup, judged),
        timing=_timing(started, waited_s, judged, 0.0),
        redacted_messages=redact_messages(call.messages, request.decision) if redacts else (),
    )


def _generated(
    policy: Policy,
    lineup: Lineup,
    call: GenerateCall,
    request: Verdict,
    writing: _Writing,
    model: str,
    started: float,
    waited_s: float,
) -> GenerateResult:
    decision = combine([request.decision, *deciding(writing.candidates)])
    if decision.action is Action.REGENERATE:
        decision = block_instead(decision, REGENERATIONS_SPENT, policy.safe_message(call.context.locale))
    shown = first_ranked(writing.candidates)
    chosen = writing.candidates[shown] if shown is not None else None
    generation = writing.generations[shown] if shown is not None else None
    verdicts = [request, *(candidate.verdict for candidate in writing.candidates)]
    return GenerateResult(
        request_id=call.request_id,
        decision_id=_new_decision_id(),
        decision=decision,
        request=request,
        candidates=writing.candidates,
        skipped=() if writing.attempts else skipped(policy.response),
        answer=(chosen.redacted or Candidate(generation.parts)) if chosen and generation else None,
        reward=chosen.reward if chosen else None,
        finish_reason=generation.finish_reason if generation else None,
        prompt_tokens=writing.prompt_tokens,
        completion_tokens=writing.completion_tokens,
        attempts=writing.attempts,
        model=model,
        provenance=_provenance(policy, lineup, verdicts),
        timing=_timing(started, waited_s, verdicts, writing.seconds),
    )


async def _view(subject: TextSubject) -> None:
    """Scores to show, also when no guard asked; a view that fails is no reason to fail the request."""
    with suppress(ScoringError):
        await subject.primary_scores()


def _provenance(policy: Policy, lineup: Lineup, verdicts: Sequence[Verdict]) -> Provenance:
    primary = lineup.primary.identity
    used = dict.fromkeys(by.model for verdict in verdicts for by in verdict.scored)
    others = tuple(model for model in used if model != primary)
    return Provenance(policy.name, policy.version, policy.digest, primary, lineup.role, others)


def _reseeded(sampling: SamplingParameters, attempts: int) -> SamplingParameters:
    """Another seed for another attempt, else a seeded model would repeat itself."""
    return sampling if sampling.seed is None else replace(sampling, seed=sampling.seed + attempts)


def _timing(started: float, waited_s: float, verdicts: Sequence[Verdict], generate_s: float) -> Timing:
    scoring = [verdict.scoring_time for verdict in verdicts]
    return Timing(
        admission_s=waited_s,
        tokenize_s=max(part.tokenize_s for part in scoring),
        queue_s=max(part.queue_s for part in scoring),
        forward_s=max(part.forward_s for part in scoring),
        generate_s=generate_s,
        total_s=time.monotonic() - started,
    )


def _new_decision_id() -> str:
    return uuid.uuid4().hex
