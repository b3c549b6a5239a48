"""A head as a classifier of two labels, decided where the policy in force decides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from guards.errors import UnknownName
from guards.probes.targets import ScoresTarget, Text

PASSES, WITHHELD = "passes", "withheld"
_TIE = 1e-5  # a risk of just the threshold withholds


class HeadClassifier:
    """Without a threshold in the policy, a risk of a half decides. The probabilities are the risk moved so that a half
    lies at the threshold: an order and a decision, not a calibrated figure."""

    labels = (PASSES, WITHHELD)

    def __init__(self, scores: ScoresTarget, head: str) -> None:
        """Raises UnknownName."""
        if head not in scores.heads:
            raise UnknownName("head", head, tuple(scores.heads))
        self._scores = scores
        self._head = head
        self._shift = _logit(scores.thresholds.get(head, 0.5)) - _TIE

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float32]:
        asked = [self._text(text) for text in texts]
        risks = [score.risk for score in self._scores.scores(self._head, asked)]
        withheld = [1.0 / (1.0 + np.exp(self._shift - _logit(risk))) for risk in risks]
        return np.asarray([(1.0 - one, one) for one in withheld], dtype=np.float32).reshape(-1, 2)

    def _text(self, text: str) -> Text:
        return Text(text) if self._scores.heads[self._head] == "prompt" else Text("", text)


def _logit(risk: float) -> float:
    held = min(max(risk, 1e-7), 1.0 - 1e-7)
    return float(np.log(held / (1.0 - held)))
