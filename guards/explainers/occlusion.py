"""Occlusion: the score without each token in turn.

Source: Zeiler and Fergus 2013 (arXiv:1311.2901), for images; Li 2016 (arXiv:1612.08220), leave-one-out for words. One
forward for each token: exact about one token alone, blind to two that say the same.
"""

from __future__ import annotations

import numpy as np

from guards.explainers.base import Attribution, Budget
from guards.explainers.explained_head import ExplainedHead
from guards.explainers.window import TokenWindow


class Occlusion:
    name = "occlusion"

    def attribute(self, head: ExplainedHead, window: TokenWindow, budget: Budget) -> Attribution:
        places = np.flatnonzero(window.own)
        hidden = [np.arange(len(window.ids)) == place for place in places]
        nothing = np.zeros(len(window.ids), dtype=np.bool_)
        logits = head.logits_without(window, [nothing, *hidden])
        values = np.zeros(len(window.ids))
        values[places] = logits[0] - logits[1:]
        return Attribution(values, signed=True)
