"""Words with a space between their letters, and wider gaps between the words.

Sources: Hosseini et al. 2017, "Deceiving Google's Perspective API" (arXiv:1702.08138); spacing the letters out is
also what got past Meta's Prompt-Guard-86M (Robust Intelligence, July 2024). Departures: only words of four or more
letters and nothing else are spaced, and gaps tell the words apart; without gaps it is the letter stream.

Severity: the probability that such a word is spaced out.
"""

from __future__ import annotations

import random
import re

from guards.probes.transformations.base import Transformation

_WORD = re.compile(r"( ?)(?<!\S)([^\W\d_]{4,})(?=[.,;:!?]?(?:\s|\Z))( ?)")


def _rewrite(text: str, rng: random.Random, severity: float) -> str:
    def spaced(match: re.Match[str]) -> str:
        if rng.random() >= severity:
            return match[0]
        return 2 * match[1] + " ".join(match[2]) + 2 * match[3]

    return _WORD.sub(spaced, text)


LETTER_SPACING = Transformation("letter_spacing", "spacing", True, True, _rewrite)
