"""The readings of a text: the text with every disguise undone that evidence speaks for, and what was disguised alone.

Ordinary text has none, and costs a few searches. At most MOST_READINGS come of one text, each about
as long as it; they are judged beside the text itself, never in its place (docs/adr/009-readings.md).
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

from guards.base import ScoreInput
from guards.edits import Draft, Edit
from guards.normalize import NormalizedText, normalize
from guards.readings.ciphers import undo_reversal, undo_rot13
from guards.readings.encodings import undo_encodings
from guards.readings.padding import undo_emoji
from guards.readings.parts import undo_parts
from guards.readings.reading import Passage, Reading, Undoing, Undone
from guards.readings.spelling import undo_marks, undo_runs, undo_signs, undo_slips

MOST_READINGS = 3
_ROUNDS = 3  # of an encoding within an encoding
_CARRIED = frozenset({"base64", "hex", "binary", "url", "html_entities", "escapes", "rot13", "reversal", "parts"})
_AROUND = {"[": "[]", "(": "()", "{": "{}", "<": "<>", '"': '""', "'": "''", "`": "``"}
_FEWEST_WORDS = 3  # of a passage that is judged alone

_WRAPPED: tuple[Undoing, ...] = (undo_parts, undo_encodings)
_SPELLED: tuple[Undoing, ...] = (
    *(undo_emoji, undo_rot13, undo_reversal),
    *(undo_signs, undo_marks, undo_runs, undo_slips),
)


def readings(text: NormalizedText) -> tuple[Reading, ...]:
    """Deterministic; empty for ordinary text."""
    draft = Draft(text.text)
    undone: list[Undone] = []  # of `text.text`
    for _ in range(_ROUNDS):
        found = [one for undo in _WRAPPED for one in _apply(draft, undo)]
        undone += found
        if not found:
            break
    for undo in _SPELLED:
        undone += _apply(draft, undo)
    if not undone:
        return ()
    passages = tuple(Passage(one.kind, *text.source_span(one.start, one.end), one.evident) for one in undone)
    stretches = dict.fromkeys([(0, len(draft.text)), *_carried(draft, undone)])
    return tuple(Reading(_mapped(text, draft, start, end), passages) for start, end in stretches)


def request_input(prompt: str) -> ScoreInput:
    """A request as the service judges it."""
    text = normalize(prompt)
    return ScoreInput(text, readings=readings(text))


def judged_input(prompt: str, response: str | None) -> ScoreInput:
    """A request, or a response to one, as the service judges it."""
    if response is None:
        return request_input(prompt)
    return ScoreInput(normalize(prompt), normalize(response))


def _apply(draft: Draft, undo: Undoing) -> list[Undone]:
    """Rewrites the draft; the passages in code points of the text that the draft began with."""
    found = list(undo(draft.text))
    before = [
        Undone(one.kind, draft.starts[one.start], draft.ends[max(one.start, one.end - 1)], (), one.evident)
        for one in found
    ]
    edits = (edit for one in found for edit in _unwrapped(draft.text, one))
    draft.apply(edit for edit in edits if edit.start < edit.end)
    return before


def _unwrapped(text: str, one: Undone) -> Iterator[Edit]:
    """Without the brackets or quotes that an encoded passage stands in."""
    around = _AROUND.get(text[max(0, one.start - 2) : one.start][-1:]) if one.kind in _CARRIED else None
    width = 0
    while around and text[one.start - width - 1 : one.start - width] == around[0] and width < 2:
        if text[one.end + width : one.end + width + 1] != around[1]:
            break
        width += 1
    yield Edit(one.start - width, one.start, "")
    yield from one.edits
    yield Edit(one.end, one.end + width, "")


def _carried(draft: Draft, undone: Sequence[Undone]) -> Iterator[tuple[int, int]]:
    """The lines with what stood in an encoding, a cipher or parts, and that alone: without words that outweigh it."""
    carried = [one for one in undone if one.kind in _CARRIED]
    if not carried:
        return
    first, last = min(one.start for one in carried), max(one.end for one in carried)
    start = bisect_left(draft.starts, first)
    end = bisect_right(draft.ends, last)
    line_start = draft.text.rfind("\n", 0, start) + 1
    line_end = draft.text.find("\n", end)
    yield line_start, line_end if line_end >= 0 else len(draft.text)
    if len(draft.text[start:end].split()) >= _FEWEST_WORDS:
        yield start, end


def _mapped(text: NormalizedText, draft: Draft, start: int, end: int) -> NormalizedText:
    """[start, end) of the draft, leading back to the text as sent."""
    sources = [text.source_span(draft.starts[at], draft.ends[at]) for at in range(start, end)]
    starts, ends = array("I", (one for one, _ in sources)), array("I", (one for _, one in sources))
    return NormalizedText(text.original, draft.text[start:end], 0, 0, starts, ends)
