"""Words exchanged for near synonyms where it hurts most.

Source: Jin et al. 2020, "Is BERT Really Robust?" (TextFooler, arXiv:1907.11932). Words are tried by importance, the
first candidate that fools the target ends the search, else the one that lowers the score most stays.

Departures:
- Synonyms are the nearest whole words of the encoder's own word vectors, by cosine, in place of counter-fitted
  vectors, which are not ours to ship. Ordinary vectors have opposites for neighbours: words/opposites.py takes out the
  commonest, negating prefixes, and other forms of the same stem.
- No tagger: in place of the part of speech, the ending must be of the same kind (-ing, -ed, -ly, -er, -est, -s, none).
- The whole text is compared, by the encoder's sentence vectors, in place of USE on a window of 15 words; the bound is
  another one, because the scale is.
- Among candidates that fool the target the nearest by word vectors is taken, not the one whose text is nearest.

Similarity: cosine of sentence vectors with the original at least `min_similarity`, of word vectors at least
`min_cosine`. The bounds do not make a text valid: read the examples before you trust a rate.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from guards.probes.targets import EncoderTarget
from guards.probes.words.opposites import opposed
from guards.probes.words.text import in_case_of, is_stop_word

_ENDINGS = ("ing", "ed", "ly", "est", "er", "s")
_STEM = 5  # letters; words that share that many, or a whole word, are forms of one word more often than synonyms


class WordSubstitution:
    name = "word_substitution"
    category = "synonyms"

    def __init__(
        self, encoder: EncoderTarget, most: int = 8, min_cosine: float = 0.4, min_similarity: float = 0.85
    ) -> None:
        self._encoder = encoder
        self._words = encoder.word_vectors()
        self._most = most
        self._min_cosine = min_cosine
        self._min_similarity = min_similarity

    def candidates(self, word: str, rng: random.Random) -> tuple[str, ...]:
        """The nearest first; none for a word that the encoder has no vector for."""
        plain = word.lower()
        near = [
            other
            for other, cosine in self._words.nearest(plain, 6 * self._most)
            if cosine >= self._min_cosine and _fits(plain, other)
        ]
        return tuple(in_case_of(word, other) for other in near[: self._most])

    def allowed(self, original: str, texts: Sequence[str]) -> Sequence[bool]:
        if not texts:
            return []
        vectors = self._encoder.vectors([original, *texts])
        return [bool(one) for one in vectors[1:] @ vectors[0] >= np.float32(self._min_similarity)]


def _fits(word: str, other: str) -> bool:
    if is_stop_word(other) or opposed(word, other) or _ending(word) != _ending(other):
        return False
    beginning = min(_STEM, len(word), len(other))
    return word[:beginning] != other[:beginning]


def _ending(word: str) -> str:
    """The first of the endings that a word of enough letters has."""
    return next((one for one in _ENDINGS if len(word) > len(one) + 2 and word.endswith(one)), "")
