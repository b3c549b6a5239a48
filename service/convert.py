"""protobuf <-> the service's own types. The one place where a request's fields are checked.

Checked by hand, once: every violation is listed with its path, and no value is repeated.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.protobuf.message import Message as ProtoMessage

from guards.errors import FieldViolation, InvalidInput, MessageTooLarge, PreconditionFailed, TooLarge
from guards.explainers.names import AUTO, check_method
from guards.types import Candidate, Message, Part, Role, Scope, TextPart, ToolCall, ToolResult, part_text
from service.backends.base import SamplingParameters
from service.config import LimitSettings
from service.exchange import CallContext, CheckCall, GenerateCall
from service.explaining.exchange import ExplainCall, GenerationChoice
from service.explaining.work import AttentionChoice
from wardgate.v1 import conversation_pb2 as conversation
from wardgate.v1 import explanation_pb2 as explanation
from wardgate.v1 import guardrail_pb2 as guardrail

MAX_MESSAGES = 512
MAX_PARTS = 64
MAX_CANDIDATES = 16
MAX_BATCH = 256
MAX_NAME = 128
MAX_LOCALE = 35
MAX_VIEWS = 8
MAX_STOPS = 4
MAX_STOP_CHARS = 64
MAX_SEED = 2**63 - 1
MAX_FAULTS = 32  # listed in one error: details travel in trailers, which clients take up to 8 KiB of

_ROLES = {
    conversation.ROLE_SYSTEM: Role.SYSTEM,
    conversation.ROLE_USER: Role.USER,
    conversation.ROLE_ASSISTANT: Role.ASSISTANT,
    conversation.ROLE_TOOL: Role.TOOL,
}
_SCOPES = {
    guardrail.SCOPE_UNSPECIFIED: Scope.NEW_TURNS,
    guardrail.SCOPE_NEW_TURNS: Scope.NEW_TURNS,
    guardrail.SCOPE_WHOLE_CONVERSATION: Scope.WHOLE_CONVERSATION,
}
_VIEWS = frozenset((guardrail.VIEW_SCORES, guardrail.VIEW_EXPLANATION))

M = TypeVar("M", bound=ProtoMessage)


def parse(message_type: Callable[[], M], raw: bytes, max_bytes: int) -> M:
    """Raises MessageTooLarge, or InvalidInput for bytes that are no such message or hold invalid UTF-8."""
    if len(raw) > max_bytes:
        raise MessageTooLarge(f"the message has {len(raw)} bytes and {max_bytes} are taken; see grpc.max_message_bytes")
    message = message_type()
    try:
        message.ParseFromString(raw)
    except (DecodeError, UnicodeDecodeError, ValueError) as error:
        name = message.DESCRIPTOR.full_name
        fault = f"not a valid {name}; text must be UTF-8 without surrogates"
        raise InvalidInput("the bytes cannot be decoded", [FieldViolation("", fault)]) from error
    return message


@dataclass(slots=True)
class _Faults:
    """Collects violations, so that a caller sees them at once."""

    violations: list[FieldViolation] = field(default_factory=list)

    def add(self, path: str, description: str) -> None:
        self.violations.append(FieldViolation(path, description))

    def check(self, ok: bool, path: str, description: str) -> None:
        if not ok:
            self.add(path, description)

    def raise_any(self) -> None:
        if self.violations:
            paths = ", ".join(violation.field for violation in self.violations[:5])
            listed = self.violations[:MAX_FAULTS]
            if len(self.violations) > MAX_FAULTS:
                listed.append(FieldViolation("", f"and {len(self.violations) - MAX_FAULTS} more"))
            raise InvalidInput(f"invalid request: {paths}", listed)


def check_call(request: guardrail.CheckRequest, limits: LimitSettings, deadline: float) -> CheckCall:
    """Raises InvalidInput with every violation, TooLarge when there is too much text."""
    faults = _Faults()
    _check_common(request, faults)
    faults.check(len(request.candidates) <= MAX_CANDIDATES, "candidates", f"at most {MAX_CANDIDATES}")
    messages = _messages(request.messages, faults)
    candidates = tuple(
        Candidate(_parts(candidate.parts, f"candidates[{index}]", faults))
        for index, candidate in enumerate(request.candidates[:MAX_CANDIDATES])
    )
    faults.raise_any()
    _check_size([message.parts for message in messages] + [c.parts for c in candidates], limits)
    return CheckCall(
        request_id=request.request_id or uuid.uuid4().hex,
        deadline=deadline,
        messages=messages,
        candidates=candidates,
        policy=request.policy,
        context=_context(request.context),
        scope=_SCOPES[request.scope],
        want_scores=guardrail.VIEW_SCORES in request.views,
        want_explanation=guardrail.VIEW_EXPLANATION in request.views,
    )


def generate_call(
    request: guardrail.GenerateRequest, limits: LimitSettings, defaults: SamplingParameters, deadline: float
) -> GenerateCall:
    """Raises InvalidInput with every violation, TooLarge when there is too much text."""
    faults = _Faults()
    _check_common(request, faults)
    messages = _messages(request.messages, faults)
    sampling = _sampling(request.sampling, defaults, limits, faults)
    faults.raise_any()
    _check_size([message.parts for message in messages], limits)
    return GenerateCall(
        request_id=request.request_id or uuid.uuid4().hex,
        deadline=deadline,
        messages=messages,
        sampling=sampling,
        policy=request.policy,
        context=_context(request.context),
        scope=_SCOPES[request.scope],
        want_scores=guardrail.VIEW_SCORES in request.views,
        want_explanation=guardrail.VIEW_EXPLANATION in request.views,
    )


def explain_call(
    request: guardrail.ExplainRequest, limits: LimitSettings, max_budget_s: float, deadline: float
) -> ExplainCall:
    """Raises InvalidInput with every violation, TooLarge, UnknownName for a method, PreconditionFailed."""
    if request.decision_id:
        fault = "decisions are not kept, so none can be explained by its identifier; send the messages"
        raise PreconditionFailed(fault, kind="DECISION", subject="decision_id")
    faults = _Faults()
    _check_caller(request, faults)
    _check_name(request.head, "head", faults)
    messages = _messages(request.messages, faults)
    given = request.HasField("response")
    candidates = (Candidate(_parts(request.response.parts, "response", faults)),) if given else ()
    budget_s = request.budget.ToNanoseconds() / 1e9 if request.HasField("budget") else None
    fits = budget_s is None or 0 < budget_s <= max_budget_s
    faults.check(fits, "budget", f"over 0, at most {max_budget_s:g} s: explanations.max_budget_s")
    generation = _generation(request, faults) if request.HasField("generation") else None
    faults.raise_any()
    method = request.method or AUTO
    check_method(method)
    _check_size([message.parts for message in messages] + [c.parts for c in candidates], limits)
    return ExplainCall(
        check=CheckCall(
            request_id=request.request_id or uuid.uuid4().hex,
            deadline=deadline,
            messages=messages,
            candidates=candidates,
            policy=request.policy,
            context=_context(request.context),
            scope=_SCOPES[request.scope],
        ),
        head=request.head,
        method=method,
        budget_s=budget_s,
        top_k=request.top_k,
        attention=_attention(request.attention) if request.HasField("attention") else None,
        generation=generation,
    )


def _attention(asked: explanation.AttentionSelection) -> AttentionChoice:
    """Whether the model has them is its explainer's to say."""
    return AttentionChoice(
        layer=asked.layer if asked.HasField("layer") else None,
        attention_head=asked.attention_head if asked.HasField("attention_head") else None,
    )


def _generation(request: guardrail.ExplainRequest, faults: _Faults) -> GenerationChoice:
    asked = request.generation
    faults.check(request.HasField("response"), "response", "needed: the response that the wrapped model wrote")
    for name in ("head", "method"):
        faults.check(not getattr(request, name), name, "goes with a head of the reward model, not with generation")
    anything = asked.HasField("position") or asked.HasField("attention")
    faults.check(anything, "generation", "set position, attention or both")
    return GenerationChoice(
        position=asked.position if asked.HasField("position") else None,
        attention=_attention(asked.attention) if asked.HasField("attention") else None,
        without_sink=asked.without_sink,
    )


def _check_common(request: guardrail.CheckRequest | guardrail.GenerateRequest, faults: _Faults) -> None:
    _check_caller(request, faults)
    faults.check(len(request.views) <= MAX_VIEWS, "views", f"at most {MAX_VIEWS}")
    for index, view in enumerate(request.views):
        faults.check(view in _VIEWS, f"views[{index}]", "not a known View")


def _check_caller(
    request: guardrail.CheckRequest | guardrail.GenerateRequest | guardrail.ExplainRequest, faults: _Faults
) -> None:
    visible = all("!" <= character <= "~" for character in request.request_id)
    faults.check(len(request.request_id) <= MAX_NAME and visible, "request_id", "at most 128 visible ASCII characters")
    _check_name(request.policy, "policy", faults)
    for name in ("app", "route", "tenant", "session_id", "user_hash"):
        _check_name(getattr(request.context, name), f"context.{name}", faults)
    _check_name(request.context.locale, "context.locale", faults, MAX_LOCALE)
    faults.check(request.scope in _SCOPES, "scope", "not a known Scope")


def _check_name(value: str, path: str, faults: _Faults, longest: int = MAX_NAME) -> None:
    faults.check(len(value) <= longest and value.isprintable(), path, f"at most {longest} printable characters")


def _messages(messages: Sequence[conversation.Message], faults: _Faults) -> tuple[Message, ...]:
    faults.check(1 <= len(messages) <= MAX_MESSAGES, "messages", f"1 to {MAX_MESSAGES} are needed")
    converted = []
    for index, message in enumerate(messages[:MAX_MESSAGES]):
        path = f"messages[{index}]"
        role = _ROLES.get(message.role)
        faults.check(role is not None, f"{path}.role", "not a known Role; set it to system, user, assistant or tool")
        _check_name(message.name, f"{path}.name", faults)
        converted.append(Message(role or Role.USER, _parts(message.parts, path, faults), message.name))
    return tuple(converted)


def _parts(parts: Sequence[conversation.ContentPart], path: str, faults: _Faults) -> tuple[Part, ...]:
    faults.check(1 <= len(parts) <= MAX_PARTS, f"{path}.parts", f"1 to {MAX_PARTS} are needed")
    return tuple(_part(part, f"{path}.parts[{index}]", faults) for index, part in enumerate(parts[:MAX_PARTS]))


def _part(part: conversation.ContentPart, path: str, faults: _Faults) -> Part:
    match part.WhichOneof("part"):
        case "text":
            faults.check(part.text != "", f"{path}.text", "must not be empty")
            return TextPart(part.text)
        case "tool_call":
            call = part.tool_call
            _check_name(call.call_id, f"{path}.tool_call.call_id", faults)
            _check_name(call.name, f"{path}.tool_call.name", faults)
            return ToolCall(call.call_id, call.name, call.arguments)
        case "tool_result":
            _check_name(part.tool_result.call_id, f"{path}.tool_result.call_id", faults)
            return ToolResult(part.tool_result.call_id, part.tool_result.content)
        case _:
            faults.add(path, "set text, tool_call or tool_result")
            return TextPart("")


def _check_size(texts: Sequence[Sequence[Part]], limits: LimitSettings) -> None:
    """Before anything is tokenized."""
    total = sum(len(part_text(part)) for parts in texts for part in parts)
    if total > limits.max_text_chars:
        what = f"{total} characters of text, and {limits.max_text_chars} are taken; send less, or raise the limit"
        raise TooLarge(f"too much text: {what}", [FieldViolation("messages", what)])


def _context(context: conversation.CallContext) -> CallContext:
    return CallContext(
        context.app, context.route, context.tenant, context.session_id, context.user_hash, context.locale
    )


def _sampling(
    asked: guardrail.SamplingParameters, defaults: SamplingParameters, limits: LimitSettings, faults: _Faults
) -> SamplingParameters:
    def given(name: str, default: float) -> float:
        return getattr(asked, name) if asked.HasField(name) else default

    max_tokens = int(given("max_tokens", min(defaults.max_tokens, limits.max_output_tokens)))
    temperature = given("temperature", defaults.temperature)
    top_p = given("top_p", defaults.top_p)
    top_k = asked.top_k if asked.HasField("top_k") else defaults.top_k
    most = limits.max_output_tokens
    faults.check(1 <= max_tokens <= most, "sampling.max_tokens", f"1 to {most}")
    faults.check(math.isfinite(temperature) and 0 <= temperature <= 2, "sampling.temperature", "0 to 2")
    faults.check(math.isfinite(top_p) and 0 < top_p <= 1, "sampling.top_p", "over 0, at most 1")
    faults.check(top_k is None or top_k >= 1, "sampling.top_k", "1 or more")
    faults.check(asked.seed <= MAX_SEED, "sampling.seed", "0 to 2^63 - 1")
    stops_fit = len(asked.stop) <= MAX_STOPS and all(0 < len(stop) <= MAX_STOP_CHARS for stop in asked.stop)
    faults.check(stops_fit, "sampling.stop", f"at most {MAX_STOPS} texts of 1 to {MAX_STOP_CHARS} characters")
    return SamplingParameters(
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        stop=tuple(asked.stop),
        seed=asked.seed if asked.HasField("seed") else None,
    )


def duration(seconds: float) -> Duration:
    whole = int(seconds)
    return Duration(seconds=whole, nanos=int((seconds - whole) * 1e9))
