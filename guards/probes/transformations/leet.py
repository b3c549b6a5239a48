"""Digits and signs for the letters they resemble.

Source: Gröndahl et al. 2018, "All You Need is Love: Evading Hate Speech Detection" (arXiv:1808.09115), where it is
one of several evasions. Departures: one sign per letter, no multi-sign letters (|\\/| for m), so that the text
stays legible.

Severity: the probability that a letter which has a sign is replaced.
"""

from __future__ import annotations

import random

from guards.probes.transformations.base import Transformation

_TABLE = {"a": "4@", "b": "8", "e": "3", "g": "9", "i": "1!", "l": "1", "o": "0", "s": "5$", "t": "7", "z": "2"}


def _rewrite(text: str, rng: random.Random, severity: float) -> str:
    return "".join(
        rng.choice(_TABLE[char.lower()]) if char.lower() in _TABLE and rng.random() < severity else char
        for char in text
    )


LEET = Transformation("leet", "look-alike", False, True, _rewrite)
