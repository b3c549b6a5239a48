"""Evidence of what `normalize` undoes: hidden characters, stacked marks, look-alikes, letters apart.

Sources: Boucher et al. 2022, "Bad Characters" (arXiv:2106.09898) for invisible characters and look-alikes; UTS #51 for
tag characters; Hackett et al. 2025 (arXiv:2504.11168) for the rest. Departures: only what honest text hardly has is
evidence. Joiners and controls of direction shape Arabic, Hebrew and Indic words and emoji, and soft hyphens stand in
copied pages, so that only invisible characters between two Latin letters count, and tags only outside of flags; two
marks on a letter are Vietnamese; letters apart count only when they spell words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from guards.normalize import NormalizedText, normalize
from guards.readings.reading import Kind, Passage
from guards.readings.words import known, split

_BETWEEN_LETTERS = re.compile(
    "(?<=[A-Za-z])[\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\U000e0100-\U000e01ef]+"
    "(?=[A-Za-z])"
)
_FEWEST_HIDDEN = 3  # places; a copied page may have one
_TAGS = re.compile("(?<!\U0001f3f4)(?<![\U000e0020-\U000e007e])[\U000e0020-\U000e007e]{3,}")
_STACK = re.compile("[^\\W\\d_][\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]{3,}")
_FEWEST_STACKS = 3
_FEWEST_FOLDED = 3
_SHARE_FOLDED = 0.05  # of the text's letters
_APART = re.compile(r"(?<![\w'-])[A-Za-z](?: {1,3}[A-Za-z](?![\w'-])){5,}")
_FEWEST_APART = 2  # words


def hidden(text: NormalizedText) -> Iterator[Passage]:
    """Evident passages of the text as sent."""
    sent = text.original
    if text.hidden:
        yield from _every("hidden_characters", _BETWEEN_LETTERS, sent, _FEWEST_HIDDEN)
        yield from _every("hidden_characters", _TAGS, sent, 1)
        yield from _every("combining_marks", _STACK, sent, _FEWEST_STACKS)
    if text.folded >= _FEWEST_FOLDED and text.folded >= _SHARE_FOLDED * sum(map(str.isalpha, text.text)):
        yield Passage("look_alikes", 0, len(sent), evident=True)
    for match in _APART.finditer(sent):
        words = [word for part in normalize(match[0]).text.split() for word in split(part)]
        spelled = [word for word in words if len(word) > 2 and known(word)]
        if len(spelled) >= _FEWEST_APART and sum(map(len, spelled)) >= 0.6 * sum(map(len, words)):
            yield Passage("letters_apart", *match.span(), evident=True)


def _every(kind: Kind, pattern: re.Pattern[str], sent: str, fewest: int) -> Sequence[Passage]:
    found = [Passage(kind, *match.span(), evident=True) for match in pattern.finditer(sent)]
    return found if len(found) >= fewest else ()
