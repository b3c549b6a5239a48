"""Texts under judgement: which parts of a conversation, and where each code point came from."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass

from guards.base import ScoreInput, Scorer
from guards.errors import FieldViolation, InvalidInput, ScoringError
from guards.normalize import NormalizedText, normalize
from guards.types import Candidate, Message, Part, Role, Scope, Span, Stage, TextScores, part_text

_LONG_TEXT = 20_000  # code points from which normalization leaves the event loop


@dataclass(frozen=True, slots=True)
class Piece:
    """One part's place in the joined text: code points [start, end)."""

    start: int
    end: int
    message: int
    part: int


@dataclass(frozen=True, slots=True)
class JudgedText:
    """The parts of one side, joined by newlines and normalized, and where each part lies in it."""

    stage: Stage
    text: NormalizedText
    pieces: tuple[Piece, ...]


class Submission:
    """One call of the scorer, made when the first guard asks, shared by all that ask."""

    def __init__(self, scorer: Scorer, inputs: Sequence[ScoreInput], deadline: float) -> None:
        self._scorer = scorer
        self._inputs = inputs
        self._deadline = deadline
        self._task: asyncio.Task[tuple[TextScores, ...]] | None = None

    async def scores(self, index: int) -> TextScores:
        if self._task is None:
            self._task = asyncio.create_task(self._score())
        # One guard's timeout must not take the scores from the others.
        return (await asyncio.shield(self._task))[index]

    async def _score(self) -> tuple[TextScores, ...]:
        scores = await self._scorer.score(self._inputs, self._deadline)
        for head in (head for text in scores for head in text.heads.values()):
            if not (math.isfinite(head.reward) and math.isfinite(head.risk)):
                raise ScoringError(f"head {head.head} gave a score that is not a finite number")
        return scores

    def result(self, index: int) -> TextScores | None:
        """The scores if they were asked for and came."""
        if self._task is None or not self._task.done() or self._task.cancelled() or self._task.exception():
            return None
        return self._task.result()[index]

    async def close(self) -> None:
        """Ends the submission if it is still running, so that nothing outlives the request."""
        if self._task is None or self._task.done():
            return
        self._task.cancel()
        await asyncio.wait([self._task])


class TextSubject:
    """Implements guards.base.Subject over a submission."""

    def __init__(self, text: JudgedText, submission: Submission, index: int) -> None:
        self.stage = text.stage
        self.text = text.text
        self._pieces = text.pieces
        self._submission = submission
        self._index = index

    async def scores(self) -> TextScores:
        return await self._submission.scores(self._index)

    def scored(self) -> TextScores | None:
        return self._submission.result(self._index)

    def spans(self, start: int, end: int) -> tuple[Span, ...]:
        return tuple(
            Span(piece.message, piece.part, max(start, piece.start) - piece.start, min(end, piece.end) - piece.start)
            for piece in self._pieces
            if max(start, piece.start) < min(end, piece.end)  # an empty part holds nothing
        )


async def request_text(messages: Sequence[Message], scope: Scope) -> JudgedText:
    """The judged part of a conversation. Raises InvalidInput when nothing is new."""
    chosen = range(len(messages)) if scope is Scope.WHOLE_CONVERSATION else _new_turns(messages)
    return await _join(Stage.REQUEST, [(index, messages[index].parts) for index in chosen])


async def earlier_text(messages: Sequence[Message], scope: Scope) -> JudgedText | None:
    """The turns that `request_text` leaves out because they were judged before; None when there are none."""
    if scope is Scope.WHOLE_CONVERSATION:
        return None
    new = set(_new_turns(messages))
    earlier = [(index, message.parts) for index, message in enumerate(messages) if index not in new]
    return await _join(Stage.REQUEST, earlier) if earlier else None


async def candidate_text(candidate: Candidate, index: int) -> JudgedText:
    return await _join(Stage.RESPONSE, [(index, candidate.parts)])


def _new_turns(messages: Sequence[Message]) -> list[int]:
    answered = max((i for i, message in enumerate(messages) if message.role is Role.ASSISTANT), default=-1)
    new = [i for i in range(answered + 1, len(messages)) if messages[i].role is not Role.SYSTEM]
    if not new:
        what = "ends with an assistant message" if answered >= 0 else "holds only system messages"
        raise InvalidInput(
            f"the conversation {what}, so no turn is new",
            [
                FieldViolation(
                    "messages",
                    "end with a user or tool message and put the response to judge in candidates,"
                    " or set scope to SCOPE_WHOLE_CONVERSATION",
                )
            ],
        )
    return new


async def _join(stage: Stage, parts: Sequence[tuple[int, Sequence[Part]]]) -> JudgedText:
    texts: list[str] = []
    pieces: list[Piece] = []
    at = 0
    for message, message_parts in parts:
        for index, part in enumerate(message_parts):
            text = part_text(part)
            pieces.append(Piece(at, at + len(text), message, index))
            texts.append(text)
            at += len(text) + 1
    joined = "\n".join(texts)
    normalized = normalize(joined) if len(joined) < _LONG_TEXT else await asyncio.to_thread(normalize, joined)
    return JudgedText(stage, normalized, tuple(pieces))
