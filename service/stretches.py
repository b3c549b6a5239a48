"""Parts of messages, whole or cut: where a text under judgement comes from, and how much of it is taken.

A cut keeps words whole where it can, and a stretch knows where in its part it begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from guards.types import Part, part_text

_WORD = 32  # code points within which a cut looks for the end of a word


@dataclass(frozen=True, slots=True)
class Stretch:
    """The text of one part of one message, or what of it begins at its code point `at`."""

    message: int
    part: int
    text: str = field(repr=False)
    at: int = 0


def stretches(message: int, parts: Sequence[Part]) -> tuple[Stretch, ...]:
    return tuple(Stretch(message, index, part_text(part)) for index, part in enumerate(parts))


def both_ends(said: tuple[Stretch, ...], room: int) -> tuple[Stretch, ...]:
    """All of it, or half of the room from its start and half from its end."""
    if sum(len(one.text) for one in said) <= room:
        return said
    return _start(said, room - room // 2) + end_of(reversed(said), room // 2)


def _start(said: Sequence[Stretch], room: int) -> tuple[Stretch, ...]:
    return _within(said, room, lambda one, left: replace(one, text=one.text[: _before(one.text, left)]))


def end_of(newest_first: Iterable[Stretch], room: int) -> tuple[Stretch, ...]:
    """The last `room` code points of what was said, oldest first; no more of it is read than that takes."""
    return _within(newest_first, room, _last_of)[::-1]


def _within(said: Iterable[Stretch], room: int, cut: Callable[[Stretch, int], Stretch]) -> tuple[Stretch, ...]:
    kept = []
    for one in said:
        if len(one.text) > room:
            one = cut(one, room)
        if not one.text:
            break
        kept.append(one)
        room -= len(one.text)
    return tuple(kept)


def _last_of(one: Stretch, room: int) -> Stretch:
    start = len(one.text) - _before(one.text[-(room + 1) :][::-1], room)
    return replace(one, text=one.text[start:], at=one.at + start)


def _before(text: str, room: int) -> int:
    """Where to cut so that at most `room` code points are left, and no word is cut in two that is not a long one."""
    if room <= 0 or text[room].isspace():
        return max(room, 0)
    for at in range(room, max(room - _WORD, 0), -1):
        if text[at - 1].isspace():
            return at
    return room
