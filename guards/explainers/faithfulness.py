"""How far an explanation can be trusted: does the score follow the tokens that it names?

Source: DeYoung 2020, "ERASER" (arXiv:1911.03429): comprehensiveness is how much the probability of the decision falls
without the highest tokens (more is better), sufficiency how much it falls when only those are left (less is better),
each the mean over a few shares of tokens. Departures: what is left keeps its places; the
share is of the text's own tokens, at least one; both are told beside the same measures of random orders of the tokens.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from guards.explainers.base import Attribution
from guards.explainers.explained_head import ExplainedHead
from guards.explainers.explanation import Faithfulness
from guards.explainers.window import TokenWindow

Floats = NDArray[np.float64]

SHARES = (0.05, 0.1, 0.2, 0.5)
_CURVE_POINTS = 11
_RANDOM_ORDERS = 5


class FaithfulnessTest:
    """Measures explanations of one window, all against the same random orders."""

    def __init__(self, head: ExplainedHead, window: TokenWindow, seed: int = 0) -> None:
        self._head = head
        self._window = window
        self._places = np.flatnonzero(window.own)
        nothing = np.zeros(len(window.ids), dtype=np.bool_)
        self._logit = float(head.logits_without(window, [nothing])[0])
        self.unsafe = self._logit >= 0
        generator = np.random.default_rng(seed)
        orders = [generator.permutation(self._places) for _ in range(_RANDOM_ORDERS)]
        self._random = self._scores(orders)

    def measure(self, attribution: Attribution, curve: bool = False) -> Faithfulness:
        order = self.order(attribution)
        ((comprehensiveness, sufficiency),) = self._scores([order])
        random = np.mean(self._random, axis=0)
        deletion = self._deletion(order) if curve else ()
        return Faithfulness(comprehensiveness, sufficiency, float(random[0]), float(random[1]), deletion)

    def order(self, attribution: Attribution) -> NDArray[np.int64]:
        """Own tokens, the one that did most for the decision first; ties in the order of the text."""
        values = attribution.values[self._places]
        towards = values if self.unsafe or not attribution.signed else -values
        return np.asarray(self._places[np.argsort(-towards, kind="stable")])

    def _scores(self, orders: list[NDArray[np.int64]]) -> list[tuple[float, float]]:
        """Comprehensiveness and sufficiency of each order."""
        if len(self._places) == 0:
            return [(0.0, 0.0) for _ in orders]
        counts = [max(1, round(share * len(self._places))) for share in SHARES]
        hidden = [self._flags(part) for order in orders for n in counts for part in (order[:n], order[n:])]
        kept = self._probability(self._head.logits_without(self._window, hidden))
        falls = (self._probability(np.array([self._logit]))[0] - kept).reshape(len(orders), len(counts), 2)
        return [(float(one[:, 0].mean()), float(one[:, 1].mean())) for one in falls]

    def _deletion(self, order: NDArray[np.int64]) -> tuple[float, ...]:
        counts = np.round(np.linspace(0, len(order), _CURVE_POINTS)).astype(int)
        hidden = [self._flags(order[:n]) for n in counts]
        return tuple(self._probability(self._head.logits_without(self._window, hidden)).tolist())

    def _flags(self, places: NDArray[np.int64]) -> NDArray[np.bool_]:
        flags = np.zeros(len(self._window.ids), dtype=np.bool_)
        flags[places] = True
        return flags

    def _probability(self, logits: Floats) -> Floats:
        """Of the decision that was made."""
        risk = 1.0 / (1.0 + np.exp(-logits))
        return np.asarray(risk if self.unsafe else 1.0 - risk)
