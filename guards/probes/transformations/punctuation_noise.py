"""Punctuation marks that belong nowhere: between words and inside them.

Sources: Karimi et al. 2021, "AEDA" (arXiv:2108.13230), marks between words; Hosseini et al. 2017
(arXiv:1702.08138), dots inside words ("id.iot"). Departures: both at once, and AEDA's six marks for both.

Severity: the probability of a mark before a word, and half of it of one inside a word of four or more characters.
"""

from __future__ import annotations

import random
import re

from guards.probes.transformations.base import Transformation

_MARKS = ".;?:!,"
_WORD = re.compile(r"\S+")


def _rewrite(text: str, rng: random.Random, severity: float) -> str:
    def noisy(match: re.Match[str]) -> str:
        word = match[0]
        if len(word) > 3 and rng.random() < severity / 2:
            at = rng.randint(1, len(word) - 1)
            word = word[:at] + rng.choice(_MARKS) + word[at:]
        return f"{rng.choice(_MARKS)} {word}" if rng.random() < severity else word

    return _WORD.sub(noisy, text)


PUNCTUATION_NOISE = Transformation("punctuation_noise", "spelling", False, True, _rewrite)
