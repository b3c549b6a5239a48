"""What every transformation promises."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

Rewrite = Callable[[str, random.Random, float], str]


@dataclass(frozen=True, slots=True)
class Transformation:
    """A pure function of text, generator state and severity; takes any str, lone surrogates too, in linear time.

    `undone_by_normalization`: `normalize` gives the same for the transformed as for the plain text, as far as the
    plain text is ordinary ASCII of a sentence or more. `meaning_preserving`: a patient reader, or a capable model,
    finds the same request in it, and its label stays; otherwise the label may change.
    """

    name: str
    family: str
    undone_by_normalization: bool
    meaning_preserving: bool
    rewrite: Rewrite = field(repr=False)

    def transform(self, text: str, rng: random.Random, severity: float) -> str:
        """Severity 0 and the empty text change nothing; 1 is the most. What lies between, the technique's file says.

        Raises ValueError for a severity outside [0, 1].
        """
        if not 0.0 <= severity <= 1.0:
            raise ValueError(f"severity must lie in [0, 1], not {severity}")
        if severity == 0.0 or not text:
            return text
        return self.rewrite(text, rng, severity)
