"""Explanations as protobuf."""

from __future__ import annotations

from collections.abc import Sequence

from guards.errors import WardgateError
from guards.explainers.explanation import AttentionMap, Explanation, TokenAttribution
from guards.explainers.window import Side
from guards.types import ModelIdentity, Span, Stage
from service.convert import duration
from service.explaining.exchange import ExplainResult, ExplanationView, GenerationExplanation, HeadExplanation
from service.explaining.work import AttentionChoice
from service.interceptors import status_of
from wardgate.v1 import decision_pb2 as decisions
from wardgate.v1 import explanation_pb2 as explanations
from wardgate.v1 import guardrail_pb2 as guardrail
from wardgate.v1 import status_pb2 as statuses

_STAGES = {Stage.REQUEST: decisions.STAGE_REQUEST, Stage.RESPONSE: decisions.STAGE_RESPONSE}


def explain_response(request_id: str, result: ExplainResult) -> guardrail.ExplainResponse:
    if isinstance(result, GenerationExplanation):
        return guardrail.ExplainResponse(request_id=request_id, generation=_generation(result))
    return guardrail.ExplainResponse(request_id=request_id, explanation=_explanation(result))


def explanation_view(view: ExplanationView | None) -> explanations.ExplanationView | None:
    if view is None:
        return None
    if isinstance(view, WardgateError):
        status = statuses.ItemStatus.FromString(status_of(view).SerializeToString())
        return explanations.ExplanationView(error=status)
    return explanations.ExplanationView(explanation=_explanation(view))


def _explanation(result: HeadExplanation) -> explanations.Explanation:
    found = result.found.explanation
    judged = result.response or result.prompt
    message = explanations.Explanation(
        head=found.head,
        stage=_STAGES[result.stage],
        candidate=result.candidate,
        reward=found.reward,
        risk=found.risk,
        method=found.method,
        signed=found.signed,
        tokens=[_token(result, token) for token in _kept(found, result.top_k)],
        tokens_total=len(found.tokens),
        faithfulness=_faithfulness(found),
        faithful=found.faithful,
        steps=found.steps,
        windows=[
            explanations.ExplainedWindow(
                spans=_spans(judged.spans(window.start, window.end)), risk=window.risk, explained=window.explained
            )
            for window in found.windows
        ],
        duration=duration(found.seconds),
        reward_model=_model(result.model),
        reading=found.reading,
    )
    if found.completeness_error is not None:
        message.completeness_error = found.completeness_error
    if result.found.attention is not None:
        message.attention.CopyFrom(_attention(result.found.attention))
    return message


def _kept(found: Explanation, top_k: int) -> Sequence[TokenAttribution]:
    """Those that mattered most, in the order of the text."""
    if not top_k or top_k >= len(found.tokens):
        return found.tokens
    top = {id(token) for token in found.top(top_k)}
    return [token for token in found.tokens if id(token) in top]


def _token(result: HeadExplanation, token: TokenAttribution) -> explanations.TokenAttribution:
    source = token.source
    of_response = source.side is Side.RESPONSE
    text = result.response if of_response and result.response else result.prompt
    return explanations.TokenAttribution(
        stage=decisions.STAGE_RESPONSE if of_response else decisions.STAGE_REQUEST,
        spans=_spans(text.spans(source.start, source.end)),
        text=source.text if result.shows_response or not of_response else "",
        attribution=token.value,
    )


def _faithfulness(found: Explanation) -> explanations.Faithfulness:
    measured = found.faithfulness
    return explanations.Faithfulness(
        comprehensiveness=measured.comprehensiveness,
        sufficiency=measured.sufficiency,
        random_comprehensiveness=measured.random_comprehensiveness,
        random_sufficiency=measured.random_sufficiency,
        deletion=measured.deletion,
    )


def _attention(found: AttentionMap) -> explanations.AttentionMap:
    return explanations.AttentionMap(
        selection=_selection(AttentionChoice(found.layer, found.attention_head)),
        tokens=[token.text for token in found.tokens],
        weights=found.matrix.ravel().tolist(),
    )


def _generation(result: GenerationExplanation) -> explanations.GenerationExplanation:
    found = result.found
    message = explanations.GenerationExplanation(
        model=result.model,
        prompt_tokens=found.prompt_tokens,
        response_tokens=found.response_tokens,
        selection=_selection(result.choice.attention) if result.choice.attention else None,
        weights=found.weights.ravel().tolist() if found.weights is not None else (),
        attributions=found.values.tolist() if found.values is not None else (),
        duration=duration(found.seconds),
    )
    if found.log_probability is not None:
        message.log_probability = found.log_probability
    return message


def _selection(choice: AttentionChoice) -> explanations.AttentionSelection:
    return explanations.AttentionSelection(layer=choice.layer, attention_head=choice.attention_head)


def _model(identity: ModelIdentity) -> decisions.ScoringModel:
    return decisions.ScoringModel(name=identity.name, version=identity.version, digest=identity.digest)


def _spans(spans: Sequence[Span]) -> list[decisions.Span]:
    return [decisions.Span(message=one.message, part=one.part, start=one.start, end=one.end) for one in spans]
