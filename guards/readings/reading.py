"""What a reading is, and what undoing a disguise yields."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from guards.edits import Edit
from guards.normalize import NormalizedText

# What a passage may turn out to be.
Disguise = Literal[
    "base64",
    "hex",
    "binary",
    "url",
    "html_entities",
    "escapes",
    "rot13",
    "reversal",
    "parts",
    "leet",
    "marks",
    "emoji",
    "hidden_characters",
    "combining_marks",
    "look_alikes",
    "letters_apart",
]
Kind = Disguise | Literal["run_together", "typos"]  # the latter two are as often mere haste


@dataclass(frozen=True, slots=True)
class Undone:
    """One passage of a text and what it says; `edits` rewrite it, in order, all within [start, end).

    `evident`: hardly found in honest text, and so a finding in itself.
    """

    kind: Kind
    start: int
    end: int
    edits: tuple[Edit, ...]
    evident: bool


class Undoing(Protocol):
    """One way of undoing: passages in order that do not overlap; nothing, and at little cost, in ordinary text."""

    def __call__(self, text: str) -> Iterator[Undone]: ...


@dataclass(frozen=True, slots=True)
class Passage:
    """Code points [start, end) of the text as sent that were read in another way."""

    kind: Kind
    start: int
    end: int
    evident: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """What a text also says. `text.original` is the text as sent, and spans of `text` lead there."""

    text: NormalizedText
    passages: tuple[Passage, ...]  # at least one

    @property
    def kinds(self) -> str:
        """As "base64" or "leet,typos"."""
        return ",".join(sorted({passage.kind for passage in self.passages}))

    @property
    def source(self) -> tuple[int, int]:
        """The smallest [start, end) of the text as sent that covers all passages."""
        return min(one.start for one in self.passages), max(one.end for one in self.passages)


def one_edit(kind: Kind, start: int, end: int, text: str, evident: bool) -> Undone:
    return Undone(kind, start, end, (Edit(start, end, text),), evident)
