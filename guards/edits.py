"""Rewriting a text piece by piece, with the way back to the offsets of the text as sent."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(slots=True)  # not frozen: made by the ten thousand, and freezing doubles the cost
class Edit:
    """Write `text` over code points [start, end); what it adds to the two counts.

    `aligned`: it replaces each code point by one, so each keeps its own source.
    """

    start: int
    end: int
    text: str
    hidden: int = 0
    folded: int = 0
    aligned: bool = False


class Draft:
    def __init__(self, text: str) -> None:
        self.text = text
        self.starts = array("I", range(len(text)))
        self.ends = array("I", range(1, len(text) + 1))
        self.hidden = 0
        self.folded = 0

    def apply(self, edits: Iterator[Edit]) -> None:
        """`edits` are in order and do not overlap."""
        pieces: list[str] = []
        starts, ends = array("I"), array("I")
        at = mapped = 0
        for edit in edits:
            pieces += (self.text[at : edit.start], edit.text)
            at = edit.end
            self.hidden += edit.hidden
            self.folded += edit.folded
            if edit.aligned:
                continue
            starts += self.starts[mapped : edit.start]
            ends += self.ends[mapped : edit.start]
            starts += self.starts[edit.start : edit.start + 1] * len(edit.text)
            ends += self.ends[edit.end - 1 : edit.end] * len(edit.text)
            mapped = edit.end
        if at == 0:
            return
        pieces.append(self.text[at:])
        self.text = "".join(pieces)
        if mapped:
            self.starts = starts + self.starts[mapped:]
            self.ends = ends + self.ends[mapped:]
