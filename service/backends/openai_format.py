"""Conversations and replies in the form of OpenAI's /v1/chat/completions.

Source: the OpenAI API reference, "Create chat completion". Departures:
- Several text parts of a message go as one text, joined by line breaks, as guards judge them.
- `top_k` is an addition of vLLM, TGI and transformers; it is sent only when set.
- A refusal is a response like others. Reasoning beside the content is not read, so it never leaves.
- `usage` may be missing; it then counts zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError

from guards.errors import BackendError, FieldViolation, InvalidInput
from guards.types import Message, Part, Role, TextPart, ToolCall, ToolResult
from service.backends.base import FinishReason, Generation, SamplingParameters

_FINISH_REASONS = {
    "stop": FinishReason.STOP,
    "tool_calls": FinishReason.STOP,
    "function_call": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "content_filter": FinishReason.CONTENT_FILTER,
}


class _Function(BaseModel):
    name: str
    arguments: str


class _ToolCall(BaseModel):
    id: str
    function: _Function


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: Literal["stop", "length", "tool_calls", "function_call", "content_filter"]


class _Usage(BaseModel):
    prompt_tokens: int = Field(ge=0, le=2**32 - 1)
    completion_tokens: int = Field(ge=0, le=2**32 - 1)


class _Reply(BaseModel):
    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None


class _Fault(BaseModel):
    code: str | int | None = None


class _FaultReply(BaseModel):
    error: _Fault


def request_of(model: str, messages: Sequence[Message], sampling: SamplingParameters) -> dict[str, Any]:
    """The JSON to send for one response. Raises InvalidInput for what the format cannot say."""
    request: dict[str, Any] = {
        "model": model,
        "messages": [turn for index, message in enumerate(messages) for turn in _turns(index, message)],
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "stream": False,
    }
    if sampling.top_k is not None:
        request["top_k"] = sampling.top_k
    if sampling.seed is not None:
        request["seed"] = sampling.seed
    if sampling.stop:
        request["stop"] = list(sampling.stop)
    return request


def _turns(index: int, message: Message) -> list[dict[str, Any]]:
    """One message is several in OpenAI's form when it holds tool results: each is a message there."""
    texts, calls, results = list[str](), list[dict[str, Any]](), list[dict[str, Any]]()
    for part in message.parts:
        match part:
            case TextPart(text):
                texts.append(text)
            case ToolCall(call_id, name, arguments):
                calls.append({"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}})
            case ToolResult(call_id, content):
                results.append({"role": "tool", "tool_call_id": call_id, "content": content})
    _refuse_misplaced(index, message, has_calls=bool(calls), has_texts=bool(texts))
    if not texts and not calls:
        return results
    turn: dict[str, Any] = {"role": message.role.value, "content": "\n".join(texts) if texts else None}
    if calls:
        turn["tool_calls"] = calls
    if message.name:
        turn["name"] = message.name
    return [*results, turn]


def _refuse_misplaced(index: int, message: Message, *, has_calls: bool, has_texts: bool) -> None:
    wrong = ""
    if has_calls and message.role is not Role.ASSISTANT:
        wrong = "only an assistant's message holds tool calls"
    elif has_texts and message.role is Role.TOOL:
        wrong = "a tool's message holds tool results only"
    if wrong:
        raise InvalidInput(
            f"the wrapped model cannot be told messages[{index}]: {wrong}",
            [FieldViolation(f"messages[{index}]", wrong)],
        )


def generation_of(body: bytes) -> Generation:
    """The first choice. Raises BackendError, which repeats nothing of the body."""
    try:
        reply = _Reply.model_validate_json(body)
    except ValidationError:
        # Without the cause: it quotes the body.
        raise BackendError("the wrapped model's reply is not a chat completion", "bad_reply") from None
    choice = reply.choices[0]
    usage = reply.usage or _Usage(prompt_tokens=0, completion_tokens=0)
    return Generation(
        parts=_parts(choice),
        finish_reason=_FINISH_REASONS[choice.finish_reason],
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
    )


def _parts(choice: _Choice) -> tuple[Part, ...]:
    message = choice.message
    text = message.content if message.content is not None else message.refusal
    calls = [ToolCall(call.id, call.function.name, call.function.arguments) for call in message.tool_calls or ()]
    if text is None and not calls and choice.finish_reason != "content_filter":
        raise BackendError("the wrapped model's reply has neither text nor tool calls", "bad_reply")
    texts = [TextPart(text or "")] if text or not calls else []
    return (*texts, *calls)


def says_prompt_too_long(body: bytes) -> bool:
    """Whether the body of an error has OpenAI's code for a prompt that does not fit."""
    try:
        return _FaultReply.model_validate_json(body).error.code == "context_length_exceeded"
    except ValidationError:
        return False
