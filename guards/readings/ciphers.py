"""Words moved thirteen places in the alphabet, or read from their end: found by what they become.

Sources: Wei et al. 2023 (arXiv:2307.02483) for ROT13; Liu et al. 2024, "FlipAttack" (arXiv:2410.02832) for reversal.
The passage is the stretch of words with the largest sum of gains (Kadane; Bentley 1984), a word's gain being how much
likelier it is after than before by the list of common words, so that a text of another language, in which neither is a
word, has none. Departures: words of ASCII letters only; one passage of each cipher in a text.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator, Sequence

from guards.readings.reading import Kind, Undone, one_edit
from guards.readings.words import WORD, known, surprise

_LEAST_GAIN = 30.0  # nats in all: three common words or more
_LEAST_WORDS = 2  # that became words of the list, of three or more letters
_NEITHER = -2.0  # a name, or another language
_NEAR = 13  # characters
_AFTER_BRACKET = re.compile(r"(?<=[\[(\"`])[^\[\]()\"`\n]{1,12}\Z")
_BEFORE_BRACKET = re.compile(r"[^\[\]()\"`\n]{1,12}(?=[\])\"`])")
_MOST_WORDS = 20_000  # of a text that are looked at


def rot13(text: str) -> str:
    return codecs.encode(text, "rot13")


def backwards(text: str) -> str:
    return text[::-1]


def undo_rot13(text: str) -> Iterator[Undone]:
    yield from _undo("rot13", text, rot13, "", ".,;:!?")


def undo_reversal(text: str) -> Iterator[Undone]:
    # a sentence's last mark stands before its last word
    yield from _undo("reversal", text, backwards, ".,;:!?'", "")


def _undo(kind: Kind, text: str, cipher: Callable[[str], str], leading: str, trailing: str) -> Iterator[Undone]:
    words = _words(text)
    if len(words) < _LEAST_WORDS or _mostly_known(words):
        return
    gains = [_gain(word[0], cipher(word[0])) for word in words]
    first, last, gain = _best_stretch(gains)
    chosen = [word[0] for word in words[first:last]]
    became = sum(len(word) > 2 and known(cipher(word)) and not known(word) for word in chosen)
    if gain < _LEAST_GAIN or became < _LEAST_WORDS:
        return
    start, end = words[first].start(), words[last - 1].end()
    while start and text[start - 1] in leading:
        start -= 1
    while end < len(text) and text[end] in trailing:
        end += 1
    start, end = _to_the_brackets(text, start, end)
    yield one_edit(kind, start, end, cipher(text[start:end]), evident=True)


def _to_the_brackets(text: str, start: int, end: int) -> tuple[int, int]:
    """A word at either end that is one in both forms, as "a", where brackets say that it belongs to it."""
    before = _AFTER_BRACKET.search(text, max(0, start - _NEAR), start)
    after = _BEFORE_BRACKET.match(text, end)
    return (before.start() if before else start), (after.end() if after else end)


def _words(text: str) -> list[re.Match[str]]:
    return [match for match, _ in zip(WORD.finditer(text), range(_MOST_WORDS), strict=False)]


def _mostly_known(words: Sequence[re.Match[str]]) -> bool:
    """A cheap test first: no three words on end without one of the list."""
    unknown = 0
    for word in words:
        unknown = 0 if known(word[0]) and len(word[0]) > 2 else unknown + 1
        if unknown >= 3:
            return False
    return len(words) > 4


def _gain(before: str, after: str) -> float:
    if not known(before) and not known(after):
        return _NEITHER
    return surprise(before) - surprise(after)


def _best_stretch(gains: Sequence[float]) -> tuple[int, int, float]:
    """[first, last) with the largest sum."""
    best, first, last = 0.0, 0, 0
    total, start = 0.0, 0
    for at, gain in enumerate(gains):
        if total <= 0.0:
            total, start = 0.0, at
        total += gain
        if total > best:
            best, first, last = total, start, at + 1
    return first, last, best
