"""A value and how far it can be trusted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and the interval around it, at the level of whoever made it."""

    value: float
    low: float
    high: float
