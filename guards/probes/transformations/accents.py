"""One accent on letters, as in no word of the language.

Source: Boucher et al. 2022, "Bad Characters" (arXiv:2106.09898), and Eger et al. 2019, "Text Processing Like Humans
Do" (arXiv:1903.11508), who draw neighbours from the names of Unicode characters. Departure: five common accents
only, written as combining marks; whether a composed letter exists is left to the reader's normalization.

Severity: the probability that an ASCII letter gets an accent.
"""

from __future__ import annotations

import random

from guards.probes.transformations.base import Transformation

_ACCENTS = "\u0300\u0301\u0302\u0303\u0308"


def _rewrite(text: str, rng: random.Random, severity: float) -> str:
    return "".join(
        char + rng.choice(_ACCENTS) if char.isascii() and char.isalpha() and rng.random() < severity else char
        for char in text
    )


ACCENTS = Transformation("accents", "marks", False, True, _rewrite)
