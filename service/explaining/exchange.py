"""A request for an explanation and its outcome: no protobuf, no transport."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from guards.errors import WardgateError
from guards.types import ModelIdentity, Stage
from service.exchange import CheckCall
from service.explaining.work import AttentionChoice, GenerationExplained, HeadExplained
from service.judged_text import JudgedText


@dataclass(frozen=True, slots=True)
class GenerationChoice:
    position: int | None
    attention: AttentionChoice | None
    without_sink: bool


@dataclass(frozen=True, slots=True)
class ExplainCall:
    """`check`: the texts, with one candidate at most, and whose they are. An empty `head` is the policy's.

    `budget_s` None is the server's default; `top_k` 0 is every token.
    """

    check: CheckCall
    head: str = ""
    method: str = "auto"
    budget_s: float | None = None
    top_k: int = 0
    attention: AttentionChoice | None = None
    generation: GenerationChoice | None = None


@dataclass(frozen=True)
class HeadExplanation:
    """`candidate` is its index, 0 on the request side. `shows_response`: whether its words may reach the caller."""

    stage: Stage
    candidate: int
    model: ModelIdentity
    prompt: JudgedText
    response: JudgedText | None
    found: HeadExplained
    top_k: int = 0
    shows_response: bool = True


@dataclass(frozen=True)
class GenerationExplanation:
    model: str
    choice: GenerationChoice
    found: GenerationExplained


ExplainResult: TypeAlias = HeadExplanation | GenerationExplanation
ExplanationView: TypeAlias = HeadExplanation | WardgateError
"""What a Check or Generate shows: an explanation, or why there is none."""
