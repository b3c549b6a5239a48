"""Texts under judgement: which parts of a conversation, and where each code point came from."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass

from guards.base import ScoreInput, Scorer
from guards.errors import FieldViolation, InvalidInput, ScoringError
from guards.normalize import NormalizedText, normalize
from guards.readings.find import readings
from guards.readings.reading import Reading
from guards.types import Candidate, Message, Part, Role, Scope, Span, Stage, TextScores, part_text
from service.exchange import ModelScores
from service.lineup import Lineup

_LONG_TEXT = 20_000  # code points from which reading leaves the event loop


@dataclass(frozen=True, slots=True)
class Piece:
    """One part's place in the joined text: code points [start, end)."""

    start: int
    end: int
    message: int
    part: int


@dataclass(frozen=True, slots=True)
class JudgedText:
    """The parts of one side, joined by newlines and normalized, and where each part lies in it.

    `readings`: what a request says besides; responses have none.
    """

    stage: Stage
    text: NormalizedText
    pieces: tuple[Piece, ...]
    readings: tuple[Reading, ...] = ()

    def spans(self, start: int, end: int) -> tuple[Span, ...]:
        """Where code points [start, end) of `text.original` lie in the caller's messages."""
        return tuple(
            Span(piece.message, piece.part, max(start, piece.start) - piece.start, min(end, piece.end) - piece.start)
            for piece in self.pieces
            if max(start, piece.start) < min(end, piece.end)  # an empty part holds nothing
        )


class Submission:
    """The texts of one call: each model scores them at most once, when the first guard asks for a head of it.

    Every model has a task of its own, so that one that fails or is slow touches only the guards that use it.
    """

    def __init__(self, lineup: Lineup, inputs: Sequence[ScoreInput], deadline: float) -> None:
        self.lineup = lineup
        self._inputs = inputs
        self._deadline = deadline
        self._tasks: dict[int, asyncio.Task[tuple[TextScores, ...]]] = {}  # by id of a scorer, which the lineup keeps

    async def scores(self, scorer: Scorer, index: int) -> TextScores:
        task = self._tasks.get(id(scorer))
        if task is None:
            task = self._tasks[id(scorer)] = asyncio.create_task(self._score(scorer))
        # One guard's timeout must not take the scores from the others.
        return (await asyncio.shield(task))[index]

    async def _score(self, scorer: Scorer) -> tuple[TextScores, ...]:
        scores = await scorer.score(self._inputs, self._deadline)
        for head in (head for text in scores for head in text.heads.values()):
            if not (math.isfinite(head.reward) and math.isfinite(head.risk)):
                raise ScoringError(f"head {head.head} gave a score that is not a finite number")
        return scores

    def result(self, scorer: Scorer, index: int) -> TextScores | None:
        """The scores if they were asked for and came."""
        task = self._tasks.get(id(scorer))
        if task is None or not task.done() or task.cancelled() or task.exception():
            return None
        return task.result()[index]

    async def close(self) -> None:
        """Ends what is still running, so that nothing outlives the request."""
        unfinished = [task for task in self._tasks.values() if task.cancel()]
        if unfinished:
            await asyncio.wait(unfinished)


class TextSubject:
    """Implements guards.base.Subject over a submission."""

    def __init__(self, text: JudgedText, submission: Submission, index: int) -> None:
        self.stage = text.stage
        self.text = text.text
        self._judged = text
        self._submission = submission
        self._index = index
        self._asked: set[int] = set()  # ids of scorers

    async def scores(self, head: str) -> TextScores:
        return await self._ask(self._submission.lineup.scorer_of(head))

    async def primary_scores(self) -> TextScores:
        """The rolled-out reward model's, whichever heads it has."""
        return await self._ask(self._submission.lineup.primary)

    async def _ask(self, scorer: Scorer) -> TextScores:
        self._asked.add(id(scorer))
        return await self._submission.scores(scorer, self._index)

    def scored(self) -> tuple[ModelScores, ...]:
        """What came from the models that were asked about this text, the primary first."""
        asked = [scorer for scorer in self._submission.lineup.scorers if id(scorer) in self._asked]
        results = [(scorer.identity, self._submission.result(scorer, self._index)) for scorer in asked]
        return tuple(ModelScores(model, text) for model, text in results if text is not None)

    def readings(self) -> tuple[Reading, ...]:
        return self._judged.readings if self.stage is Stage.REQUEST else readings(self.text)

    def spans(self, start: int, end: int) -> tuple[Span, ...]:
        return self._judged.spans(start, end)


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
    read = _read_request if stage is Stage.REQUEST else _read_response
    normalized, others = read(joined) if len(joined) < _LONG_TEXT else await asyncio.to_thread(read, joined)
    return JudgedText(stage, normalized, tuple(pieces), others)


def _read_request(text: str) -> tuple[NormalizedText, tuple[Reading, ...]]:
    normalized = normalize(text)
    return normalized, readings(normalized)


def _read_response(text: str) -> tuple[NormalizedText, tuple[Reading, ...]]:
    return normalize(text), ()
