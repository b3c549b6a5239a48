"""Says that a text is in disguise: encoded, enciphered, cut up, or strewn with what hides its words.

What it says is judged by the reward guard through the readings of the text (docs/adr/009-readings.md); this guard is
for operators who want to know, or to refuse the disguise as such.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, get_args

from pydantic import BaseModel, ConfigDict, Field

from guards.base import Subject
from guards.readings.hidden import hidden
from guards.readings.reading import Disguise, Passage
from guards.rules.patterns import INLINE_CHARS, RuleAction
from guards.types import Action, Finding, Span

DISGUISES: tuple[Disguise, ...] = get_args(Disguise)
_MOST_SPANS = 100  # of one finding; beyond, one span covers all


class ObfuscatedConfig(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    # Those to look for; every one by default.
    disguises: Annotated[tuple[Disguise, ...], Field(min_length=1)] = DISGUISES
    action: RuleAction = Action.FLAG
    # Written over each passage when the action is redact.
    replacement: str = "[ENCODED]"


class ObfuscatedGuard:
    """One finding for each kind of disguise, with its passages as spans."""

    uses_scores = False

    def __init__(self, config: ObfuscatedConfig) -> None:
        self.name = config.name
        self._config = config

    async def evaluate(self, subject: Subject) -> tuple[Finding, ...]:
        inline = len(subject.text.original) <= INLINE_CHARS
        found = evident(subject) if inline else await asyncio.to_thread(evident, subject)
        config = self._config
        return tuple(
            Finding(
                config.name,
                kind,
                config.action,
                spans=_spans(subject, passages),
                replacement=config.replacement if config.action is Action.REDACT else "",
            )
            for kind in config.disguises
            if (passages := [passage for passage in found if passage.kind == kind])
        )


def evident(subject: Subject) -> list[Passage]:
    """Passages of the text as sent that honest text hardly has, in order of each kind."""
    read = subject.readings()[:1]  # every reading of a text has all its passages
    passages = [
        *hidden(subject.text),
        *(passage for reading in read for passage in reading.passages if passage.evident),
    ]
    return sorted(passages, key=lambda passage: passage.start)


def _spans(subject: Subject, passages: list[Passage]) -> tuple[Span, ...]:
    if len(passages) > _MOST_SPANS:
        return subject.spans(passages[0].start, max(passage.end for passage in passages))
    return tuple(span for passage in passages for span in subject.spans(passage.start, passage.end))
