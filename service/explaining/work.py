"""What crosses to the explaining process and back: plain data, none of it torch's.

It travels pickled, over a pipe between this process and a child that it started; nothing else can write to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from guards.errors import FieldViolation
from guards.explainers.explanation import AttentionMap, Explanation
from guards.types import Message

MOST_ATTENTION_TOKENS = 192  # of one window: T * T numbers travel in one message, 147 KB at the most
MOST_GENERATION_WEIGHTS = 65_536  # response tokens times all tokens, as many as 64 tokens after a prompt of 960


@dataclass(frozen=True, slots=True)
class ChildSettings:
    """What a child knows from its start. `generator` is the folder of the wrapped model, where it runs in process."""

    encoder: str
    model_cache: Path
    max_windows: int
    niceness: int = 19
    threads: int = 1
    generator: str | None = None
    open_models: int = 2  # reward models kept open, the least recently used one is closed


@dataclass(frozen=True, slots=True)
class AttentionChoice:
    """None is the mean of all."""

    layer: int | None = None
    attention_head: int | None = None


@dataclass(frozen=True, slots=True)
class HeadWork:
    """Explain one head of the artefact in `folder`, which must still be the one of `digest`."""

    folder: Path
    digest: str
    prompt: str = field(repr=False)
    response: str | None = field(repr=False)
    head: str
    method: str
    budget_s: float
    attention: AttentionChoice | None = None


@dataclass(frozen=True, slots=True)
class GenerationWork:
    """Explain how the wrapped model wrote `response`."""

    messages: tuple[Message, ...] = field(repr=False)
    response: str = field(repr=False)
    position: int | None
    attention: AttentionChoice | None
    without_sink: bool


Work: TypeAlias = HeadWork | GenerationWork


@dataclass(frozen=True)
class HeadExplained:
    explanation: Explanation
    attention: AttentionMap | None = None


@dataclass(frozen=True)
class GenerationExplained:
    """`weights` [response, prompt + response]; `values` of the tokens before the one explained. See the proto."""

    prompt_tokens: tuple[str, ...]
    response_tokens: tuple[str, ...]
    weights: NDArray[np.float64] | None
    values: NDArray[np.float64] | None
    log_probability: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Failed:
    """An error on its way back. `kind`: invalid, unknown, model, internal."""

    kind: str
    message: str
    violations: tuple[FieldViolation, ...] = ()
    name: tuple[str, str] = ("", "")  # of `unknown`: what kind of thing, and the name that was asked for
    known: tuple[str, ...] = ()
    log: tuple[tuple[str, str], ...] = ()  # of `internal`: fields of the event to log, free of text


@dataclass(frozen=True, slots=True)
class Ready:
    """The child's first word: it has loaded what it can."""


Result: TypeAlias = HeadExplained | GenerationExplained
Answer: TypeAlias = Ready | HeadExplained | GenerationExplained | Failed
