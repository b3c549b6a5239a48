"""Characters without width between the letters of words.

Source: Boucher et al. 2022, "Bad Characters" (arXiv:2106.09898), "invisible characters". Departures: positions are
drawn, not searched for; besides their ZWSP, ZWNJ and ZWJ also the word joiner, the soft hyphen and the byte order
mark.

Severity: the probability of one invisible character between two letters or digits.
"""

from __future__ import annotations

import itertools
import random

from guards.probes.transformations.base import Transformation

INVISIBLE = "\u200b\u200c\u200d\u2060\u00ad\ufeff"


def between_letters(text: str, rng: random.Random, severity: float, inserted: str) -> str:
    """One of `inserted` between neighbouring letters or digits, with probability `severity` each time."""
    pieces = [text[0]]
    for before, after in itertools.pairwise(text):
        if before.isalnum() and after.isalnum() and rng.random() < severity:
            pieces.append(rng.choice(inserted))
        pieces.append(after)
    return "".join(pieces)


def _rewrite(text: str, rng: random.Random, severity: float) -> str:
    return between_letters(text, rng, severity, INVISIBLE)


ZERO_WIDTH = Transformation("zero_width", "invisible", True, True, _rewrite)
