"""What every explainer gives: one number for each token, and what it says of itself."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from guards.explainers.explained_head import ExplainedHead
from guards.explainers.window import TokenWindow

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Attribution:
    """`values` [T]: exactly 0 for padding and special tokens.

    A `signed` method's positive value raised the risk and its negative one lowered it; one without a sign says only how
    much a token mattered. `completeness_error`: by how much of the change from an empty text the values fail to
    add up to it, a share; None where the method promises no such sum. `steps` of an integral, else 0.
    """

    values: Floats
    signed: bool
    completeness_error: float | None = None
    steps: int = 0


@dataclass(frozen=True, slots=True)
class Budget:
    """`ends` in `time.monotonic()` seconds: a method that can stop early does so then, and says how far it got."""

    ends: float = field(default=float("inf"))

    @classmethod
    def of(cls, seconds: float) -> Budget:
        return cls(time.monotonic() + seconds)

    @property
    def left_s(self) -> float:
        return self.ends - time.monotonic()


class Explainer(Protocol):
    """Pure: the same head and window give the same values. Any number of threads may explain at once."""

    @property
    def name(self) -> str: ...

    def attribute(self, head: ExplainedHead, window: TokenWindow, budget: Budget) -> Attribution: ...


def of_own_tokens(values: Floats, window: TokenWindow) -> Floats:
    """Nothing is said of special tokens and padding."""
    return np.where(window.own, values, 0.0)
