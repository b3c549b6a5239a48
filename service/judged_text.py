"""A text under judgement: joined from parts of messages, read once, and where each code point came from."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guards.base import ScoreInput
from guards.normalize import NormalizedText, normalize
from guards.readings.find import readings
from guards.readings.reading import Reading
from guards.types import Span, Stage
from service.stretches import Stretch

if TYPE_CHECKING:
    from service.turns import Turns

_LONG_TEXT = 20_000  # code points from which reading leaves the event loop


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch's place in the joined text: code points [start, end), which begin at code point `at` of the part."""

    start: int
    end: int
    message: int
    part: int
    at: int = 0


@dataclass(frozen=True, slots=True)
class JudgedText:
    """The parts of one side, joined by newlines and normalized, and where each part lies in it.

    `readings`: what a request says besides; responses have none. `turns`: what the user says with it over several
    turns; None where it is one, or nobody asks. `conversation`: a request with the end of what was said before it, for
    responses to be judged after; None where nothing was.
    """

    stage: Stage
    text: NormalizedText
    pieces: tuple[Piece, ...]
    readings: tuple[Reading, ...] = ()
    turns: Turns | None = None
    conversation: JudgedText | None = None

    def spans(self, start: int, end: int) -> tuple[Span, ...]:
        """Where code points [start, end) of `text.original` lie in the caller's messages."""
        return tuple(self._spans(start, end))

    def _spans(self, start: int, end: int) -> Iterator[Span]:
        for piece in self.pieces:
            first, last = max(start, piece.start), min(end, piece.end)
            if first < last:  # an empty part holds nothing
                offset = piece.at - piece.start
                yield Span(piece.message, piece.part, first + offset, last + offset)

    @property
    def as_request(self) -> ScoreInput:
        return ScoreInput(self.text, readings=self.readings)

    def after(self, request: JudgedText) -> ScoreInput:
        """As a response to a request."""
        return ScoreInput(
            request.text, self.text, conversation=request.conversation.text if request.conversation else None
        )

    @property
    def answered(self) -> JudgedText:
        """What a response to this request is judged after."""
        return self.conversation or self


async def join(stage: Stage, parts: Sequence[Stretch]) -> JudgedText:
    pieces: list[Piece] = []
    at = 0
    for one in parts:
        pieces.append(Piece(at, at + len(one.text), one.message, one.part, one.at))
        at += len(one.text) + 1
    joined = "\n".join(one.text for one in parts)
    read = _read_request if stage is Stage.REQUEST else _read_response
    normalized, others = read(joined) if len(joined) < _LONG_TEXT else await asyncio.to_thread(read, joined)
    return JudgedText(stage, normalized, tuple(pieces), others)


def _read_request(text: str) -> tuple[NormalizedText, tuple[Reading, ...]]:
    normalized = normalize(text)
    return normalized, readings(normalized)


def _read_response(text: str) -> tuple[NormalizedText, tuple[Reading, ...]]:
    return normalize(text), ()
