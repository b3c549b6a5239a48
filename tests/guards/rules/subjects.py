"""A subject of one message with one part, so that spans are offsets of the text as it was sent."""

from __future__ import annotations

from dataclasses import dataclass, field

from guards.normalize import NormalizedText, normalize
from guards.readings.find import readings
from guards.readings.reading import Reading
from guards.types import Coverage, Span, Stage, TextScores


@dataclass
class OneText:
    text: NormalizedText
    stage: Stage = Stage.REQUEST
    asked_scores: int = field(default=0)

    async def scores(self, head: str) -> TextScores:
        self.asked_scores += 1
        return TextScores({}, Coverage())

    def readings(self) -> tuple[Reading, ...]:
        return readings(self.text)

    def turns(self) -> None:
        return None

    def spans(self, start: int, end: int) -> tuple[Span, ...]:
        return (Span(0, 0, start, end),)


def subject(text: str) -> OneText:
    return OneText(normalize(text))
