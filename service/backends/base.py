"""What the pipeline asks of a wrapped model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from guards.types import Message, Part


class FinishReason(Enum):
    STOP = "stop"
    LENGTH = "length"
    CONTENT_FILTER = "content_filter"  # the upstream withheld the rest, or all; never ours


@dataclass(frozen=True, slots=True)
class SamplingParameters:
    """How to write. `temperature` 0 is greedy; `top_p` in (0, 1]; `top_k` None is unlimited."""

    max_tokens: int = 256
    temperature: float = 0.7
    top_p: float = 1.0
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Generation:
    """One response of the wrapped model. Token counts are the model's own."""

    parts: tuple[Part, ...]
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int


class Backend(Protocol):
    """The wrapped model. `name` is the model as the operator knows it."""

    name: str

    async def start(self) -> None:
        """Load and warm up; returns when ready. Raises ModelError or BackendError."""
        ...

    async def generate(
        self, messages: Sequence[Message], sampling: SamplingParameters, n: int, deadline: float
    ) -> tuple[Generation, ...]:
        """`n` responses. `deadline` is in `time.monotonic()` seconds.

        Cancelling the call cancels the work upstream. With a seed, response i uses seed + i.
        Raises BackendError, DeadlineExceeded or InvalidInput (the prompt does not fit the model).
        """
        ...

    async def healthy(self) -> bool:
        """Whether a call made now is likely to be answered; cheap, never raises."""
        ...

    async def stop(self) -> None: ...
