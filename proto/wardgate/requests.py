"""Requests from what callers have at hand: text, dicts or protobuf messages.

Errors here never repeat the text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from wardgate.v1 import conversation_pb2, guardrail_pb2
from wardgate.v1.conversation_pb2 import CallContext, Candidate, ContentPart, Message
from wardgate.v1.explanation_pb2 import AttentionSelection, GenerationSelection
from wardgate.v1.guardrail_pb2 import CheckRequest, ExplainRequest, GenerateRequest, SamplingParameters

Turn = str | Mapping[str, str] | Message
"""A text is the user's; a dict has "role", "content" and perhaps "name"."""

Conversation = Turn | Iterable[Turn]
"""One turn, or several, oldest first."""

Response = str | Candidate | Message

Scope = Literal["", "new_turns", "whole_conversation"]
"""Which messages the request guards judge; empty leaves it to the server."""

_ROLES = {
    "system": conversation_pb2.ROLE_SYSTEM,
    "user": conversation_pb2.ROLE_USER,
    "assistant": conversation_pb2.ROLE_ASSISTANT,
    "tool": conversation_pb2.ROLE_TOOL,
}
_SCOPES = {
    "": guardrail_pb2.SCOPE_UNSPECIFIED,
    "new_turns": guardrail_pb2.SCOPE_NEW_TURNS,
    "whole_conversation": guardrail_pb2.SCOPE_WHOLE_CONVERSATION,
}


def check_request(
    messages: Conversation,
    *,
    response: Response | None = None,
    responses: Iterable[Response] = (),
    policy: str = "",
    context: CallContext | Mapping[str, str] | None = None,
    scope: Scope = "",
    scores: bool = False,
    explanation: bool = False,
    request_id: str = "",
) -> CheckRequest:
    """What to judge: the messages, and the responses to them if there are any.

    `policy` is a name or "name@version"; empty leaves it to the server. With `scores`, the reply holds every head's;
    with `explanation`, why the head that weighed most gave its risk.
    """
    candidates = [] if response is None else [_candidate(response)]
    candidates += [_candidate(other) for other in responses]
    return CheckRequest(
        request_id=request_id,
        context=_context(context),
        policy=policy,
        messages=_messages(messages),
        candidates=candidates,
        scope=_scope(scope),
        views=_views(scores, explanation),
    )


def generate_request(
    messages: Conversation,
    *,
    max_tokens: int | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    top_k: int | None = None,
    stop: Sequence[str] = (),
    seed: int | None = None,
    policy: str = "",
    context: CallContext | Mapping[str, str] | None = None,
    scope: Scope = "",
    scores: bool = False,
    explanation: bool = False,
    request_id: str = "",
) -> GenerateRequest:
    """A conversation to answer. What is None takes the server's default."""
    if isinstance(stop, str):
        raise TypeError("stop is a sequence of texts, not one text")
    sampling = SamplingParameters(
        max_tokens=max_tokens, temperature=temperature, top_p=top_p, top_k=top_k, stop=stop, seed=seed
    )
    return GenerateRequest(
        request_id=request_id,
        context=_context(context),
        policy=policy,
        messages=_messages(messages),
        sampling=sampling,
        scope=_scope(scope),
        views=_views(scores, explanation),
    )


def explain_request(
    messages: Conversation,
    *,
    response: Response | None = None,
    head: str = "",
    method: str = "",
    budget: float | None = None,
    top_k: int = 0,
    attention: AttentionSelection | None = None,
    generation: GenerationSelection | None = None,
    policy: str = "",
    context: CallContext | Mapping[str, str] | None = None,
    scope: Scope = "",
    request_id: str = "",
) -> ExplainRequest:
    """What to explain: what the messages' head said, or the response's. `budget` is in seconds."""
    request = ExplainRequest(
        request_id=request_id,
        context=_context(context),
        policy=policy,
        messages=_messages(messages),
        response=None if response is None else _candidate(response),
        scope=_scope(scope),
        head=head,
        method=method,
        top_k=top_k,
        attention=attention,
        generation=generation,
    )
    if budget is not None:
        request.budget.FromNanoseconds(int(budget * 1e9))
    return request


def _messages(conversation: Conversation) -> list[Message]:
    if isinstance(conversation, str | Mapping | Message):
        return [_message(conversation)]
    return [_message(turn) for turn in conversation]


def _message(turn: Turn) -> Message:
    if isinstance(turn, Message):
        return turn
    if isinstance(turn, str):
        return Message(role=conversation_pb2.ROLE_USER, parts=[ContentPart(text=turn)])
    if not isinstance(turn, Mapping):
        raise TypeError(f"a message is a str, a dict or a wardgate.v1 Message, not {type(turn).__name__}")
    return _message_of_dict(turn)


def _message_of_dict(turn: Mapping[str, str]) -> Message:
    # Dropping what we do not know, such as tool calls, would let it pass unjudged.
    if not {"role", "content"} <= turn.keys() <= {"role", "content", "name"}:
        raise ValueError(
            'a message dict has "role", "content" and perhaps "name"; use wardgate.v1 Message for the rest'
        )
    role = _ROLES.get(turn["role"])
    if role is None:
        raise ValueError(f"a message's role is one of {', '.join(_ROLES)}")
    if not isinstance(turn["content"], str):
        raise TypeError("a message's content is a str; use wardgate.v1 Message for parts")
    return Message(role=role, parts=[ContentPart(text=turn["content"])], name=turn.get("name", ""))


def _candidate(response: Response) -> Candidate:
    if isinstance(response, Candidate):
        return response
    if isinstance(response, Message):
        return Candidate(parts=response.parts)
    if not isinstance(response, str):
        raise TypeError(f"a response is a str or a wardgate.v1 Candidate, not {type(response).__name__}")
    return Candidate(parts=[ContentPart(text=response)])


def _context(context: CallContext | Mapping[str, str] | None) -> CallContext | None:
    if context is None or isinstance(context, CallContext):
        return context
    return CallContext(**context)


def _scope(scope: Scope) -> guardrail_pb2.Scope:
    try:
        return _SCOPES[scope]
    except KeyError:
        raise ValueError(f"scope is one of {', '.join(name for name in _SCOPES if name)}, or empty") from None


def _views(scores: bool, explanation: bool) -> list[guardrail_pb2.View]:
    asked = {guardrail_pb2.VIEW_SCORES: scores, guardrail_pb2.VIEW_EXPLANATION: explanation}
    return [view for view, wanted in asked.items() if wanted]
