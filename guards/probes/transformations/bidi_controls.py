"""Controls of writing direction between the letters of words.

Sources: Unicode UAX #9; Boucher and Anderson 2021, "Trojan Source" (arXiv:2111.00169). Departure: controls are
strewn without reordering what is seen. Their attack shows one order and stores another; a model reads the stored
one, so for us that is reversal with a control in front.

Severity: the probability of one control between two letters or digits.
"""

from __future__ import annotations

import random

from guards.probes.transformations.base import Transformation
from guards.probes.transformations.zero_width import between_letters

# marks, embeddings, isolates and their ends; no overrides, which would show the text backwards
_CONTROLS = "\u200e\u200f\u061c\u202a\u202c\u2066\u2068\u2069"


def _rewrite(text: str, rng: random.Random, severity: float) -> str:
    return between_letters(text, rng, severity, _CONTROLS)


BIDI_CONTROLS = Transformation("bidi_controls", "invisible", True, True, _rewrite)
