"""Words written in invisible tag characters, which many models still read ("ASCII smuggling").

Sources: Unicode UTS #51 (tag characters); Hackett et al. 2025 (arXiv:2504.11168), after R. Goodside, January 2024.
Departure: the words are smuggled where they stand, not behind an innocent visible text.

Severity: the share of the words, in one passage, that become tags; other than printable ASCII stays.
"""

from __future__ import annotations

import random

from guards.probes.transformations.base import Transformation
from guards.probes.transformations.passages import passage


def _rewrite(text: str, rng: random.Random, severity: float) -> str:
    start, end = passage(text, rng, severity)
    hidden = "".join(chr(0xE0000 + ord(char)) if " " <= char <= "~" else char for char in text[start:end])
    return text[:start] + hidden + text[end:]


TAG_CHARACTERS = Transformation("tag_characters", "invisible", True, True, _rewrite)
