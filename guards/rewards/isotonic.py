"""Isotonic calibration: reward to risk by a non-increasing curve (Zadrozny and Elkan 2002).

Pool-adjacent-violators (Ayer 1955) over labels in order of reward. Departures: equal rewards are pooled before
anything else, so ties have one risk whatever their order; the curve is linear between the centres of blocks,
not stepped, so that it makes few ties of its own; and it keeps 1 / (n + 2) away from 0 and 1, since no finite
sample shows certainty.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Isotonic(BaseModel):
    """Breakpoints by rising reward; flat before the first and after the last."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    method: Literal["isotonic"] = "isotonic"
    rewards: tuple[float, ...] = Field(min_length=1)
    risks: tuple[float, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _monotone(self) -> Isotonic:
        if len(self.rewards) != len(self.risks):
            raise ValueError("as many risks as rewards are needed")
        if any(later <= earlier for earlier, later in pairwise(self.rewards)):
            raise ValueError("rewards must rise")
        if any(later > earlier for earlier, later in pairwise(self.risks)):
            raise ValueError("risk may not rise with reward")
        if not all(0.0 <= risk <= 1.0 for risk in self.risks):
            raise ValueError("risks lie in [0, 1]")
        return self

    @property
    def highest(self) -> float:
        """The highest risk it gives."""
        return self.risks[0]

    def risk(self, reward: float) -> float:
        """P(unsafe) in [0, 1], never higher for a higher reward."""
        if reward != reward:
            return reward  # not a number stays so, and the guard refuses it
        after = bisect_right(self.rewards, reward)
        if after == 0:
            return self.risks[0]
        if after == len(self.rewards):
            return self.risks[-1]
        low, high = self.rewards[after - 1], self.rewards[after]
        before, behind = self.risks[after - 1], self.risks[after]
        value = before + (behind - before) * ((reward - low) / (high - low))
        return min(before, max(behind, value))  # rounding may not bend the curve


def fit_isotonic(rewards: Sequence[float], labels: Sequence[int]) -> Isotonic:
    """Label 1 is unsafe. Needs at least one row."""
    blocks: list[_Block] = []
    for block in _by_reward(rewards, labels):
        blocks.append(block)
        while len(blocks) > 1 and blocks[-1].risk >= blocks[-2].risk:
            last = blocks.pop()
            blocks[-1] = blocks[-1].joined(last)
    margin = 1 / (len(labels) + 2)
    return Isotonic(
        rewards=tuple(block.centre for block in blocks),
        risks=tuple(min(1 - margin, max(margin, block.risk)) for block in blocks),
    )


class _Block:
    """Rows with neighbouring rewards that share one risk."""

    def __init__(self, rows: int, unsafe: int, rewards: float, low: float, high: float) -> None:
        self.rows, self.unsafe, self.rewards = rows, unsafe, rewards  # the sum of rewards
        self.low, self.high = low, high

    @property
    def risk(self) -> float:
        return self.unsafe / self.rows

    @property
    def centre(self) -> float:
        """Within the block: rounding may not carry it into the next."""
        return min(self.high, max(self.low, self.rewards / self.rows))

    def joined(self, other: _Block) -> _Block:
        """`other` has the higher rewards."""
        rows, unsafe = self.rows + other.rows, self.unsafe + other.unsafe
        return _Block(rows, unsafe, self.rewards + other.rewards, self.low, other.high)


def _by_reward(rewards: Sequence[float], labels: Sequence[int]) -> list[_Block]:
    """One block per distinct reward, rising."""
    at: dict[float, _Block] = {}
    for reward, label in sorted(zip(rewards, labels, strict=True)):
        one = _Block(1, label, reward, reward, reward)
        at[reward] = at[reward].joined(one) if reward in at else one
    return list(at.values())
