"""What probes of the wrapped model say to it, and whether the guard would have let it pass."""

from __future__ import annotations

from collections.abc import Sequence

from guards.probes.targets import Exchange, GuardTarget
from guards.types import Message, Role, TextPart

Conversation = tuple[Message, ...]


def asked(text: str) -> Conversation:
    return (Message(Role.USER, (TextPart(text),)),)


def let_through(guard: GuardTarget, conversations: Sequence[Conversation], answers: Sequence[str]) -> tuple[bool, ...]:
    """Of each conversation whether the policy in force withholds neither it nor the answer to it."""
    requests = guard.requests(conversations)
    responses = guard.responses([Exchange(*both) for both in zip(conversations, answers, strict=True)])
    return tuple(not (one.withheld or other.withheld) for one, other in zip(requests, responses, strict=True))
