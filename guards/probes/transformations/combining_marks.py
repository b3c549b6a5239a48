"""Marks stacked on letters: light "zalgo".

Sources: Unicode UAX #15; Hackett et al. 2025 (arXiv:2504.11168), "diacritics" and "zalgo". Departure: three to five
marks per letter, so that the word below stays legible; zalgo generators stack dozens. Fewer are the accents' file.

Severity: the probability that an ASCII letter gets marks.
"""

from __future__ import annotations

import random

from guards.probes.transformations.base import Transformation

_MARKS = "".join(map(chr, (*range(0x300, 0x315), *range(0x323, 0x334), *range(0x334, 0x339))))


def _rewrite(text: str, rng: random.Random, severity: float) -> str:
    pieces = []
    for char in text:
        pieces.append(char)
        if char.isascii() and char.isalpha() and rng.random() < severity:
            pieces += rng.choices(_MARKS, k=rng.randint(3, 5))
    return "".join(pieces)


COMBINING_MARKS = Transformation("combining_marks", "marks", True, True, _rewrite)
