"""Integrated gradients: the gradient along the way from a text without words to the text.

Source: Sundararajan, Taly and Yan 2017, "Axiomatic Attribution for Deep Networks" (arXiv:1703.01365). The values add up
to the change of the logit of risk; how far they fail to is the completeness error. Departures: the midpoint rule, and
twice as many steps until the error is within `MOST_ERROR` or the time is up; the baseline keeps special tokens and
replaces every own token by the mask token (or the padding token), at its own place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from guards.explainers.base import Attribution, Budget, Floats, of_own_tokens
from guards.explainers.explained_head import ExplainedHead
from guards.explainers.window import TokenWindow

MOST_ERROR = 0.01
SMALLEST_CHANGE = 0.1  # of the logit: below it the error is told as a share of this
_TOKENS_AT_ONCE = 2048
_PADDING_ID = 0


@dataclass(frozen=True, slots=True)
class IntegratedGradients:
    baseline: Literal["mask", "pad"] = "mask"
    first_steps: int = 16
    most_steps: int = 256
    name: str = "integrated_gradients"

    def attribute(self, head: ExplainedHead, window: TokenWindow, budget: Budget) -> Attribution:
        path = Path(head, window, head.mask_id if self.baseline == "mask" else _PADDING_ID)
        steps, seconds_a_step = self.first_steps, 0.0
        while True:
            started = budget.left_s
            values = path.integral(steps)
            error = abs(values.sum() - path.change) / max(abs(path.change), SMALLEST_CHANGE)
            seconds_a_step = (started - budget.left_s) / steps if np.isfinite(started) else 0.0
            late = 2 * steps * seconds_a_step > budget.left_s
            if error <= MOST_ERROR or late or 2 * steps > self.most_steps:
                return Attribution(of_own_tokens(values, window), True, float(error), steps)
            steps *= 2


class Path:
    """The straight line from the baseline to the text. `change` is the logit's, end minus start."""

    def __init__(self, head: ExplainedHead, window: TokenWindow, baseline_id: int) -> None:
        self._head = head
        ids, self._mask, self._segments = head.tensors(window)
        own = torch.from_numpy(window.own).to(ids.device)
        self._start = head.embed(torch.where(own, baseline_id, ids))[0]
        self._way = head.embed(ids)[0] - self._start  # zero but at own tokens
        with torch.inference_mode():
            ends = torch.stack([self._start, self._start + self._way])
            at_start, at_end = head.logits(ends, self._mask.expand(2, -1), self._segments.expand(2, -1)).tolist()
        self.change = at_end - at_start

    def integral(self, steps: int) -> Floats:
        """[T], by the midpoint rule."""
        shares = (torch.arange(steps, device=self._way.device) + 0.5) / steps
        total = torch.zeros_like(self._way, dtype=torch.float64)
        batch = max(1, _TOKENS_AT_ONCE // len(self._way))
        for at in range(0, steps, batch):
            total += self._gradient(shares[at : at + batch]).double()
        return np.asarray((total / steps * self._way.double()).sum(-1).cpu().numpy())

    def _gradient(self, shares: Tensor) -> Tensor:
        """The gradients' sum over some points of the way, [T, D]."""
        rows = len(shares)
        with torch.enable_grad():
            points = (self._start + shares[:, None, None] * self._way).detach().requires_grad_(True)
            logits = self._head.logits(points, self._mask.expand(rows, -1), self._segments.expand(rows, -1))
            (gradient,) = torch.autograd.grad(logits.sum(), points)
        return gradient.sum(0)
