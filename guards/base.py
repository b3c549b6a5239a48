"""The seams: what a guard and a scorer promise."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from guards.normalize import NormalizedText
from guards.readings.reading import Reading
from guards.types import Finding, ModelIdentity, Span, Stage, TextScores


@dataclass(frozen=True, slots=True)
class ScoreInput:
    """One text to score.

    `prompt` alone asks for the heads that judge requests; with `response`, for the heads that
    judge a response to that prompt. `readings` are what a prompt also says: the worst of all counts. `conversation`:
    the prompt with the end of what was said before it, where something was; for models that read more than a turn.
    """

    prompt: NormalizedText
    response: NormalizedText | None = None
    readings: tuple[Reading, ...] = ()
    conversation: NormalizedText | None = None

    @property
    def answered(self) -> NormalizedText:
        """What the response is judged after."""
        return self.conversation or self.prompt


class Scorer(Protocol):
    """Turns texts into head outputs; all inputs of one call are submitted together."""

    @property
    def identity(self) -> ModelIdentity: ...

    @property
    def heads(self) -> Sequence[str]: ...

    async def score(self, inputs: Sequence[ScoreInput], deadline: float) -> tuple[TextScores, ...]:
        """One TextScores per input, in order. `deadline` is in `time.monotonic()` seconds.

        Raises DeadlineExceeded, Overloaded or ScoringError.
        """
        ...


class Subject(Protocol):
    """One text under judgement: the new turns of a request, or one candidate."""

    stage: Stage
    text: NormalizedText

    async def scores(self, head: str) -> TextScores:
        """What the model that has `head` says: one submission, shared by every guard that asks for a head of it.

        Raises UnknownName when no model has it.
        """
        ...

    def readings(self) -> tuple[Reading, ...]:
        """What the text also says. A request's were found before, since it is scored by them too."""
        ...

    def turns(self) -> Turns | None:
        """What the user says over several turns, this text's the newest; None for a response, or where it is one turn.

        Also None where no reward guard of the policy reads turns.
        """
        ...

    def spans(self, start: int, end: int) -> tuple[Span, ...]:
        """Where code points [start, end) of `text.original` lie in the caller's messages."""
        ...


class Turns(Protocol):
    """The user's last turns as one text, which is judged beside the newest alone (docs/adr/013-turns.md)."""

    @property
    def subject(self) -> Subject:
        """All of them; their scores come with the text's."""
        ...

    @property
    def messages(self) -> tuple[int, ...]:
        """Which turns: the first message of each."""
        ...

    async def counted(self, withheld: Callable[[Subject], Awaitable[bool]]) -> Turns | None:
        """Without those that were stopped when they were new: the answer says so, and so does `withheld` of the turn
        and what was left before it. The same object when none were, None when nothing is left before the newest.
        """
        ...


class Guard(Protocol):
    """Judges one text. Raising is allowed: the caller applies the guard's fail mode."""

    name: str
    uses_scores: bool

    async def evaluate(self, subject: Subject) -> tuple[Finding, ...]: ...
