"""A passage of a text: the contiguous words that a technique rewrites, the rest stays."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

OPEN, CLOSE = "[[", "]]"

_WORD = re.compile(r"\S+")


def passage(text: str, rng: random.Random, severity: float) -> tuple[int, int]:
    """[start, end) of a run of whole words, `severity` of all, at least one; the whole text at 1 or without words."""
    words = [match.span() for match in _WORD.finditer(text)]
    if severity == 1.0 or not words:
        return 0, len(text)
    count = max(1, round(severity * len(words)))
    first = rng.randint(0, len(words) - count)
    return words[first][0], words[first + count - 1][1]


def carried(
    text: str, rng: random.Random, severity: float, carriers: Sequence[str], encode: Callable[[str], str]
) -> str:
    """One carrier line, then the text with one passage encoded between OPEN and CLOSE."""
    start, end = passage(text, rng, severity)
    return f"{rng.choice(carriers)}\n{text[:start]}{OPEN}{encode(text[start:end])}{CLOSE}{text[end:]}"
