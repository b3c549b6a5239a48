"""Greedy masking: the token without which the decision weakens most, then the next one without both, and so on.

Source: Martens and Provost 2014, "Explaining Data-Driven Document Classifications" (MISQ 38(1)), SEDC: best-first
removal of words. Departures: integrated gradients choose the few tokens that are tried at each step, so that a step
costs some forwards instead of one for each token; removal goes on past the change of the decision, through the first
fifth of the tokens; what is not reached keeps the order of the integrated gradients, scaled below.

It looks for what comprehensiveness measures, so its comprehensiveness is a bound that others can be read against, and
its sufficiency is the figure that tells whether it says anything else.
"""

from __future__ import annotations

import math

import numpy as np

from guards.explainers.base import Attribution, Budget, Floats
from guards.explainers.explained_head import ExplainedHead
from guards.explainers.integrated_gradients import IntegratedGradients
from guards.explainers.window import TokenWindow

_TRIED = 8  # tokens at each step
_SHARE = 0.2  # of the own tokens that are masked one after the other
_GUIDE = IntegratedGradients(most_steps=11)


class GreedyMasking:
    name = "greedy_masking"

    def attribute(self, head: ExplainedHead, window: TokenWindow, budget: Budget) -> Attribution:
        guide = _GUIDE.attribute(head, window, budget).values
        hidden = np.zeros(len(window.ids), dtype=np.bool_)
        logit = float(head.logits_without(window, [hidden])[0])
        towards = 1.0 if logit >= 0 else -1.0  # of the decision, in the logit of risk
        left = [int(place) for place in np.flatnonzero(window.own)[np.argsort(-towards * guide[window.own])]]
        order: list[int] = []
        falls: list[float] = []
        for _ in range(math.ceil(_SHARE * len(left))):
            if budget.left_s <= 0:
                break
            tried = left[:_TRIED]
            masks = [hidden.copy() for _ in tried]
            for mask, place in zip(masks, tried, strict=True):
                mask[place] = True
            found = towards * head.logits_without(window, masks)
            best = int(np.argmin(found))
            order.append(tried[best])
            falls.append(towards * logit - float(found[best]))
            logit = towards * float(found[best])
            hidden = masks[best]
            left.remove(tried[best])
        return Attribution(towards * _values(len(window.ids), order, falls, left, towards * guide), signed=True)


def _values(length: int, order: list[int], falls: list[float], left: list[int], guide: Floats) -> Floats:
    """Falls in the order of removal, none above the one before; the rest as guided, none above the last fall."""
    values = np.zeros(length)
    values[order] = np.maximum.accumulate(falls[::-1])[::-1] if falls else []
    if left:
        largest = float(np.abs(guide[left]).max())
        least = max(float(values[order].min()), 0.0) if order else largest
        values[left] = guide[left] * (0.999 * least / largest if largest > 0 and order else 1.0)
    return values
