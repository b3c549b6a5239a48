"""Integrated gradients: the gradient along the way from a text without words to the text.

Source: Sundararajan, Taly and Yan 2017, "Axiomatic Attribution for Deep Networks" (arXiv:1703.01365). The values add up
to the change of the logit of risk; how far they fail to is the completeness error. Departures:

- The baseline keeps special tokens and replaces every own token by the mask token (or the padding token), at its place.
- A prompt's reward is the least of its parts', which has a kink wherever another part becomes the least. So the part
  that decided at the text itself gives the logit all along the way: at the text that is the logit that was served.
- The points lie denser where most happens, by the sinh substitution (Johnston and Elliott 2005, IJNME 62), and are
  summed with Gregory's end weights (Press 2007, Numerical Recipes, 4.1.14): the same integral for a third of the steps.
  Twice as many until the error is within `MOST_ERROR` or the time is up; the points of before are used again.
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

Baseline = Literal["mask", "pad"]

# Where the words begin to outweigh what stands for nothing, as measured on the embedded encoder; on another one a wrong
# guess costs steps, and the error says so.
_BUSIEST = {"mask": 0.3, "pad": 0.45}
_BUSY_WIDTH = 0.12
_END_WEIGHTS = np.array([3 / 8, 7 / 6, 23 / 24])


@dataclass(frozen=True, slots=True)
class IntegratedGradients:
    """`first_steps`: 5 or more."""

    baseline: Baseline = "mask"
    first_steps: int = 11
    most_steps: int = 176
    name: str = "integrated_gradients"

    def attribute(self, head: ExplainedHead, window: TokenWindow, budget: Budget) -> Attribution:
        started = budget.left_s
        path = Path(head, window, self.baseline)
        slopes = path.slopes(self.first_steps)
        while True:
            steps = len(slopes) - 1
            values = integral(slopes)
            error = abs(values.sum() - path.change) / max(abs(path.change), SMALLEST_CHANGE)
            late = started - budget.left_s > budget.left_s  # as many points again take as long as those of before
            if error <= MOST_ERROR or late or 2 * steps > self.most_steps:
                return Attribution(of_own_tokens(values, window), True, float(error), steps)
            slopes = np.insert(slopes, np.arange(1, steps + 1), path.slopes_between(steps), axis=0)


def integral(slopes: Floats) -> Floats:
    """Of slopes at even places from end to end of [0, 1], both included, [steps + 1, T] -> [T]."""
    weights = np.ones(len(slopes))
    weights[:3] = _END_WEIGHTS
    weights[-3:] = _END_WEIGHTS[::-1]
    return np.asarray(weights @ slopes / (len(slopes) - 1))


@dataclass(frozen=True, slots=True)
class _Read:
    """At some points of the way: logit [n], gradient times way [n, T], and the part that gave it [n, members]."""

    logits: Tensor
    rises: Tensor
    deciding: Tensor


class Path:
    """The straight line from the baseline to the text, by the part of the text that decided.

    `at_start` and `at_end` are that part's logits of risk there.
    """

    def __init__(self, head: ExplainedHead, window: TokenWindow, baseline: Baseline = "mask") -> None:
        self._head = head
        self._busiest = _BUSIEST[baseline]
        baseline_id = head.mask_id if baseline == "mask" else _PADDING_ID
        ids, self._mask, self._segments = head.tensors(window)
        own = torch.from_numpy(window.own).to(ids.device)
        self._start = head.embed(torch.where(own, baseline_id, ids))[0]
        self._way = head.embed(ids)[0] - self._start  # zero but at own tokens
        at_text = self._read(torch.ones(1).to(self._way), None)
        self._deciding = at_text.deciding
        without = self._read(torch.zeros(1).to(self._way), self._deciding)
        self.at_start, self.at_end = float(without.logits), float(at_text.logits)
        self._rises_at_ends = without.rises, at_text.rises

    @property
    def change(self) -> float:
        return self.at_end - self.at_start

    def slopes(self, steps: int) -> Floats:
        """How fast each token raises the logit at even places from end to end, [steps + 1, T].

        The integral over the places explains the change.
        """
        places = np.linspace(0.0, 1.0, steps + 1)
        start, end = self._rises_at_ends
        rises = torch.cat([start, self._rises(places[1:-1]), end])
        return self._per_place(rises, places)

    def slopes_between(self, steps: int) -> Floats:
        """The same halfway between each two of those, [steps, T]."""
        places = (np.arange(steps) + 0.5) / steps
        return self._per_place(self._rises(places), places)

    def points(self, places: Floats) -> tuple[Floats, Floats]:
        """Where on the way each place is, a share of it, and how fast the way goes by there."""
        first, last = np.arcsinh(np.array([-self._busiest, 1.0 - self._busiest]) / _BUSY_WIDTH)
        at = first + (last - first) * places
        return self._busiest + _BUSY_WIDTH * np.sinh(at), _BUSY_WIDTH * (last - first) * np.cosh(at)

    def _rises(self, places: Floats) -> Tensor:
        """Gradient times way, [n, T]."""
        shares = torch.from_numpy(self.points(places)[0]).to(self._way)
        batch = max(1, _TOKENS_AT_ONCE // len(self._way))
        return torch.cat([self._read(some, self._deciding).rises for some in torch.split(shares, batch)])

    def _per_place(self, rises: Tensor, places: Floats) -> Floats:
        return np.asarray(self.points(places)[1][:, None] * rises.double().cpu().numpy())

    def _read(self, shares: Tensor, deciding: Tensor | None) -> _Read:
        rows = len(shares)
        mask, segments = self._mask.expand(rows, -1), self._segments.expand(rows, -1)
        with torch.enable_grad():
            points = (self._start + shares[:, None, None] * self._way).detach().requires_grad_(True)
            found = self._head.attended(points, mask, segments, attentions=False, deciding=deciding)
            (gradient,) = torch.autograd.grad(found.logits.sum(), points)
        return _Read(found.logits.detach(), (gradient * self._way).sum(-1), found.deciding)
