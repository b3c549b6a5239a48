"""A text as words that can be exchanged, with all that lies between them kept as it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")

# Words that carry grammar rather than content: neither technique touches them. Written for this project, since the
# usual lists come with corpora that are not ours to ship. Negations are among them: without one, the text says
# something else.
_STOP_WORDS = """
    a about above after again against ain all am an and any are aren as at be because been before being below between
    both but by can cannot could couldn d did didn do does doesn doing don down during each either else ever every few
    for from further had hadn has hasn have haven having he her here hers herself him himself his how i if in into is
    isn it its itself just ll m ma may me might mightn more most must mustn my myself n nay neither never no nobody none
    nor not nothing now nowhere nt o of off on once one only or other our ours ourselves out over own quite rather re s
    same shall shan she should shouldn since so some such t than that the their theirs them themselves then there these
    they this those though through to too under unless until up upon us ve very was wasn we were weren what when where
    whether which while who whom whose why will with within without won would wouldn yet you your yours yourself
    yourselves
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())


@dataclass(frozen=True, slots=True)
class Words:
    """`spans`: code points [start, end) of every word. No word touches another, so they can be exchanged freely."""

    text: str
    spans: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        return len(self.spans)

    def __getitem__(self, index: int) -> str:
        start, end = self.spans[index]
        return self.text[start:end]

    def content(self) -> list[int]:
        """Where the words are that may be changed."""
        return [index for index in range(len(self)) if not is_stop_word(self[index])]

    def replaced(self, changes: Mapping[int, str]) -> str:
        """The text with other words at some places; "" takes one out. What lies between the words stays."""
        parts = []
        behind = 0
        for index, (start, end) in enumerate(self.spans):
            parts += [self.text[behind:start], changes.get(index, self.text[start:end])]
            behind = end
        return "".join([*parts, self.text[behind:]])


def split_words(text: str) -> Words:
    return Words(text, tuple(match.span() for match in _WORD.finditer(text)))


def is_stop_word(word: str) -> bool:
    """Also one-letter words, and contractions of stop words such as "isn't"."""
    return len(word) < 2 or all(part in STOP_WORDS for part in re.split("['’]", word.lower()))


def in_case_of(original: str, word: str) -> str:
    """`word` written as `original` is: all capitals, a capital first, or as it comes."""
    if len(original) > 1 and original.isupper():
        return word.upper()
    return word[:1].upper() + word[1:] if original[:1].isupper() else word
