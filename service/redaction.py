"""Writes a decision's redactions over the texts they point into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from guards.types import Candidate, Decision, Message, Part, Span, TextPart, ToolCall, ToolResult, part_text


def redact_messages(messages: Sequence[Message], decision: Decision) -> tuple[Message, ...]:
    return tuple(
        replace(message, parts=_redact(message.parts, index, decision)) for index, message in enumerate(messages)
    )


def redact_candidate(candidate: Candidate, index: int, decision: Decision) -> Candidate:
    return Candidate(_redact(candidate.parts, index, decision))


def _redact(parts: Sequence[Part], message: int, decision: Decision) -> tuple[Part, ...]:
    return tuple(
        _with_text(part, _overwrite(part_text(part), message, index, decision.redactions))
        for index, part in enumerate(parts)
    )


def _overwrite(text: str, message: int, part: int, redactions: Sequence[tuple[Span, str]]) -> str:
    """Spans are disjoint and in order; from the end, so that earlier offsets stay right."""
    for span, replacement in reversed(redactions):
        if (span.message, span.part) == (message, part):
            text = text[: span.start] + replacement + text[span.end :]
    return text


def _with_text(part: Part, text: str) -> Part:
    match part:
        case TextPart():
            return TextPart(text)
        case ToolCall():
            return replace(part, arguments=text)
        case ToolResult():
            return replace(part, content=text)
