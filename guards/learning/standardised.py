"""A head that learns from standardised features, and is kept as one that reads them as they are.

An encoder's hidden states have a few dimensions that are large and hardly vary, and many small ones that do: on them as
they are, a step moves little but the former. So every feature is brought to mean 0 and deviation 1 over some of the
texts that are learned from (LeCun et al. 1998, Efficient BackProp, section 4.3, without its rotation). It is a linear
map before a linear map, so what is kept has both in one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from guards.rewards.torch_model import RewardHead

_LEAST_SPREAD = 1e-3


class StandardisedHead(RewardHead):
    """As it is made it changes nothing; see `measure`."""

    centre: Tensor  # [features]
    spread: Tensor

    def __init__(self, features: int, hidden: int, members: int) -> None:
        super().__init__(features, hidden, members)
        self.register_buffer("centre", torch.zeros(features))
        self.register_buffer("spread", torch.ones(features))

    def measure(self, features: Tensor) -> None:
        """By what texts [n, features] have."""
        normed = self.norm(features)
        self.centre, self.spread = normed.mean(0), normed.std(0, unbiased=False).clamp(min=_LEAST_SPREAD)

    def read(self, features: Tensor) -> Tensor:
        """What the hidden layer sees."""
        result: Tensor = (self.norm(features) - self.centre) / self.spread
        return result

    def kept(self) -> dict[str, Tensor]:
        """The state of the `RewardHead` that says the same; its weights are exact in half precision.

        They are rounded before the offset is taken, which so makes up for what rounding does to the means.
        """
        weight = (self.inner.weight / self.spread).half().float()
        return {
            "inner.weight": weight,
            "inner.bias": self.inner.bias - weight @ self.centre,
            "outer": self.outer,
            "offset": self.offset,
        }
