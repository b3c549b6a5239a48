"""The service's results as protobuf replies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from guards.types import (
    Action,
    Candidate,
    Cause,
    Coverage,
    Decision,
    Enforcement,
    FailMode,
    Finding,
    GuardResult,
    GuardStatus,
    Message,
    Part,
    RiskBound,
    Role,
    Stage,
    TextPart,
    ToolCall,
    ToolResult,
)
from service.backends.base import FinishReason
from service.convert import duration
from service.exchange import CheckResult, GenerateResult, Provenance, RankedCandidate, Timing, Verdict
from service.explaining.replies import explanation_view
from wardgate.v1 import conversation_pb2 as conversation
from wardgate.v1 import decision_pb2 as decisions
from wardgate.v1 import guardrail_pb2 as guardrail

_ROLES = {
    Role.SYSTEM: conversation.ROLE_SYSTEM,
    Role.USER: conversation.ROLE_USER,
    Role.ASSISTANT: conversation.ROLE_ASSISTANT,
    Role.TOOL: conversation.ROLE_TOOL,
}
_ENFORCEMENTS = {
    Enforcement.ENFORCED: decisions.ENFORCEMENT_ENFORCED,
    Enforcement.SHADOW: decisions.ENFORCEMENT_SHADOW,
}
_CAUSES = {
    Cause.POLICY: decisions.CAUSE_POLICY,
    Cause.GUARD_FAILURE: decisions.CAUSE_GUARD_FAILURE,
    Cause.INCOMPLETE_COVERAGE: decisions.CAUSE_INCOMPLETE_COVERAGE,
}
_STAGES = {Stage.REQUEST: decisions.STAGE_REQUEST, Stage.RESPONSE: decisions.STAGE_RESPONSE}
_STATUSES = {
    GuardStatus.OK: decisions.GUARD_STATUS_OK,
    GuardStatus.ERROR: decisions.GUARD_STATUS_ERROR,
    GuardStatus.TIMEOUT: decisions.GUARD_STATUS_TIMEOUT,
    GuardStatus.SKIPPED: decisions.GUARD_STATUS_SKIPPED,
}
_ACTIONS: Mapping[Action, decisions.Action] = {action: getattr(decisions, f"ACTION_{action.name}") for action in Action}
_FAIL_MODES = {
    None: decisions.FAIL_MODE_UNSPECIFIED,
    FailMode.CLOSED: decisions.FAIL_MODE_CLOSED,
    FailMode.OPEN: decisions.FAIL_MODE_OPEN,
}
_FINISH_REASONS = {
    FinishReason.STOP: guardrail.FINISH_REASON_STOP,
    FinishReason.LENGTH: guardrail.FINISH_REASON_LENGTH,
    FinishReason.CONTENT_FILTER: guardrail.FINISH_REASON_CONTENT_FILTER,
}


def check_response(result: CheckResult, want_scores: bool) -> guardrail.CheckResponse:
    verdicts = [result.request, *(candidate.verdict for candidate in result.candidates)]
    return guardrail.CheckResponse(
        request_id=result.request_id,
        decision_id=result.decision_id,
        decision=_decision(result.decision),
        candidates=[_candidate_result(candidate) for candidate in result.candidates],
        guards=_guards(result.request, result.candidates),
        coverage=_coverage(verdicts),
        provenance=_provenance(result.provenance),
        timing=_timing(result.timing),
        scores=_scores(result.request, result.candidates) if want_scores else (),
        redacted_messages=[_message(message) for message in result.redacted_messages],
        explanation=explanation_view(result.explanation),
    )


def generate_response(result: GenerateResult, want_scores: bool) -> guardrail.GenerateResponse:
    verdicts = [result.request, *(candidate.verdict for candidate in result.candidates)]
    guards = [*_guards(result.request, result.candidates), *(_guard(skipped, 0) for skipped in result.skipped)]
    answer = result.answer or Candidate((TextPart(result.decision.safe_message),))
    response = guardrail.GenerateResponse(
        request_id=result.request_id,
        decision_id=result.decision_id,
        decision=_decision(result.decision),
        message=_message(Message(Role.ASSISTANT, answer.parts)),
        finish_reason=_finish_reason(result),
        usage=guardrail.Usage(prompt_tokens=result.prompt_tokens, completion_tokens=result.completion_tokens),
        guards=guards,
        coverage=_coverage(verdicts),
        provenance=_provenance(result.provenance),
        timing=_timing(result.timing),
        scores=_scores(result.request, result.candidates) if want_scores else (),
        model=result.model,
        attempts=result.attempts,
        explanation=explanation_view(result.explanation),
    )
    if result.reward is not None:
        response.reward = result.reward
    return response


def _finish_reason(result: GenerateResult) -> guardrail.FinishReason:
    if result.finish_reason is not None:
        return _FINISH_REASONS[result.finish_reason]
    return guardrail.FINISH_REASON_CONTENT_FILTER


def _decision(decision: Decision) -> decisions.Decision:
    return decisions.Decision(
        action=_action(decision.action),
        would_action=_action(decision.would_action),
        enforcement=_ENFORCEMENTS[decision.enforcement],
        cause=_CAUSES[decision.cause],
        reason_code=decision.reason_code,
        safe_message=decision.safe_message,
        findings=[_finding(finding) for finding in decision.findings],
    )


def _action(action: Action) -> decisions.Action:
    return _ACTIONS[action]


def _finding(finding: Finding) -> decisions.Finding:
    return decisions.Finding(
        rule=finding.rule,
        category=finding.category,
        risk=finding.risk,
        threshold=finding.threshold,
        raw_reward=finding.raw_reward,
        spans=[
            decisions.Span(message=span.message, part=span.part, start=span.start, end=span.end)
            for span in finding.spans
        ],
        action=_action(finding.action),
        bound=_bound(finding.bound) if finding.bound else None,
        reading=finding.reading,
    )


def _bound(bound: RiskBound) -> decisions.RiskBound:
    made = decisions.RiskBound(target=bound.target, upper=bound.upper, n=bound.n)
    made.calibrated_at.FromDatetime(bound.calibrated_at)
    return made


def _candidate_result(candidate: RankedCandidate) -> guardrail.CandidateResult:
    return guardrail.CandidateResult(
        decision=_decision(candidate.verdict.decision),
        reward=candidate.reward,
        rank=candidate.rank,
        redacted=conversation.Candidate(parts=_parts(candidate.redacted.parts)) if candidate.redacted else None,
    )


def _guards(request: Verdict, candidates: Sequence[RankedCandidate]) -> list[decisions.GuardResult]:
    return [_guard(result, index) for index, verdict in _indexed(request, candidates) for result in verdict.guards]


def _indexed(request: Verdict, candidates: Sequence[RankedCandidate]) -> Iterator[tuple[int, Verdict]]:
    """Each verdict with the index of its candidate, 0 for the request side."""
    yield 0, request
    for index, candidate in enumerate(candidates):
        yield index, candidate.verdict


def _guard(result: GuardResult, candidate: int) -> decisions.GuardResult:
    return decisions.GuardResult(
        guard=result.guard,
        stage=_STAGES[result.stage],
        candidate=candidate,
        status=_STATUSES[result.status],
        fail_mode_applied=_FAIL_MODES[result.fail_mode_applied],
        error_type=result.error_type,
        enforcement=_ENFORCEMENTS[result.enforcement],
        findings=[_finding(finding) for finding in result.findings],
        duration=duration(result.duration_s),
    )


def _scores(request: Verdict, candidates: Sequence[RankedCandidate]) -> list[decisions.Score]:
    return [
        decisions.Score(
            head=score.head,
            stage=_STAGES[verdict.stage],
            candidate=index,
            reward=score.reward,
            risk=score.risk,
            spread=score.spread,
        )
        for index, verdict in _indexed(request, candidates)
        for score in verdict.scores.values()
    ]


def _coverage(verdicts: Sequence[Verdict]) -> decisions.Coverage:
    coverage = sum((verdict.coverage for verdict in verdicts), Coverage())
    return decisions.Coverage(
        tokens_total=coverage.tokens_total,
        tokens_scored=coverage.tokens_scored,
        windows=coverage.windows,
        complete=coverage.complete,
    )


def _provenance(provenance: Provenance) -> decisions.Provenance:
    return decisions.Provenance(
        policy=provenance.policy,
        policy_version=provenance.policy_version,
        policy_digest=provenance.policy_digest,
        reward_model=provenance.model.name,
        reward_model_version=provenance.model.version,
        reward_model_digest=provenance.model.digest,
        calibration=provenance.model.calibration,
        normalizer=provenance.model.normalizer,
        further_models=[
            decisions.ScoringModel(name=model.name, version=model.version, digest=model.digest)
            for model in provenance.others
        ],
    )


def _timing(timing: Timing) -> decisions.Timing:
    return decisions.Timing(
        admission=duration(timing.admission_s),
        tokenize=duration(timing.tokenize_s),
        queue=duration(timing.queue_s),
        forward=duration(timing.forward_s),
        generate=duration(timing.generate_s),
        total=duration(timing.total_s),
    )


def _message(message: Message) -> conversation.Message:
    return conversation.Message(role=_ROLES[message.role], parts=_parts(message.parts), name=message.name)


def _parts(parts: Sequence[Part]) -> list[conversation.ContentPart]:
    return [_part(part) for part in parts]


def _part(part: Part) -> conversation.ContentPart:
    match part:
        case TextPart(text):
            return conversation.ContentPart(text=text)
        case ToolCall(call_id, name, arguments):
            call = conversation.ToolCall(call_id=call_id, name=name, arguments=arguments)
            return conversation.ContentPart(tool_call=call)
        case ToolResult(call_id, content):
            return conversation.ContentPart(tool_result=conversation.ToolResult(call_id=call_id, content=content))
