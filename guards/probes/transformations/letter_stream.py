"""A passage as one stream of letters with a space after each, so that no gap tells the words apart.

Source: Hosseini et al. 2017 (arXiv:1702.08138) and the bypass of Prompt-Guard-86M (Robust Intelligence, July 2024),
which spaced every character alike. Departure: the words' own spaces are dropped, where the bypass kept them as
wider gaps.

Severity: the share of the words, in one passage.
"""

from __future__ import annotations

import random

from guards.probes.transformations.base import Transformation
from guards.probes.transformations.passages import passage


def _rewrite(text: str, rng: random.Random, severity: float) -> str:
    start, end = passage(text, rng, severity)
    letters = "".join(text[start:end].split())
    return text[:start] + " ".join(letters) + text[end:] if letters else text


LETTER_STREAM = Transformation("letter_stream", "spacing", False, True, _rewrite)
