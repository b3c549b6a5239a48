"""Words misspelt where it hurts most: letters swapped, substituted, deleted or inserted.

Source: Gao et al. 2018, "Black-box Generation of Adversarial Text Sequences to Evade Deep Learning Classifiers"
(DeepWordBug, arXiv:1801.04354). Each important word is tried in the paper's four ways, one letter each, at a drawn
place. Departures: importance is the fall of the score without the word, in place of the paper's scores of a growing
prefix and suffix, which need a model that reads from left to right; the best of the four ways stays, as in
textattack, where the paper's table has one way at a time; stop words and words of fewer than `MIN_LETTERS` letters
are left alone; and by default the first and last letter stay, so that a reader knows the word.

Similarity: one edit per word, in a bounded share of the words. A reader may still be unable to tell a short word.
"""

from __future__ import annotations

import random
import string
from collections.abc import Sequence

MIN_LETTERS = 3


class WordScramble:
    name = "word_scramble"
    category = "spelling"

    def __init__(self, keep_ends: bool = True) -> None:
        self._keep_ends = keep_ends

    def candidates(self, word: str, rng: random.Random) -> tuple[str, ...]:
        """Up to four misspellings of the word, one of each way."""
        first = 1 if self._keep_ends else 0
        last = len(word) - first  # exclusive
        if len(word) < MIN_LETTERS or last - first < 1:
            return ()
        at = rng.randrange(first, last)
        ways = [
            _substituted(word, at, rng),
            word[:at] + word[at + 1 :],
            word[:at] + rng.choice(string.ascii_lowercase) + word[at:],
        ]
        if last - first >= 2:
            ways.insert(0, _swapped(word, rng.randrange(first, last - 1)))
        return tuple(dict.fromkeys(one for one in ways if one != word))

    def allowed(self, original: str, texts: Sequence[str]) -> Sequence[bool]:
        return [True] * len(texts)


def _swapped(word: str, at: int) -> str:
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


def _substituted(word: str, at: int, rng: random.Random) -> str:
    others = string.ascii_lowercase.replace(word[at].lower(), "")
    return word[:at] + rng.choice(others) + word[at + 1 :]
