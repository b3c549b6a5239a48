"""What an explanation says. Free of torch, so that a process that only passes explanations on need not load it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guards.explainers.window import TokenSource

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Faithfulness:
    """All are changes of the probability of the decision, which lies in [0, 1].

    `deletion`: that probability as tokens go, most important first, from none to all in equal steps.
    """

    comprehensiveness: float
    sufficiency: float
    random_comprehensiveness: float
    random_sufficiency: float
    deletion: tuple[float, ...] = ()

    @property
    def faithful(self) -> bool:
        """Better than chance both ways; an explanation that is not says nothing about this score."""
        return self.comprehensiveness > self.random_comprehensiveness and self.sufficiency < self.random_sufficiency


@dataclass(frozen=True, slots=True)
class TokenAttribution:
    """`value` as the method gives it; 0 where the token lies in no window that was explained."""

    source: TokenSource
    value: float


@dataclass(frozen=True, slots=True)
class WindowReport:
    """`start`, `end`: code points of the judged text as sent. `risk` of this window alone, [0, 1]."""

    start: int
    end: int
    risk: float
    explained: bool


@dataclass(frozen=True)
class Explanation:
    """Why `head` gave `risk`.

    `tokens` are the judged text's, in its order, each once, after those of the prompt where a response is judged.
    `faithful` is False where the method did no better than chance on this text: then it explains nothing here.
    `completeness_error` is of the worst window. `seconds`: of all. `reading`: how the text was read, such as "base64",
    where what it says in disguise was worse than what it shows; then the tokens are of that reading, each with the
    place of the passage that it was read from. "turns" where the text is the user's turns together.
    """

    head: str
    reward: float
    risk: float
    method: str
    signed: bool
    tokens: tuple[TokenAttribution, ...]
    faithfulness: Faithfulness
    completeness_error: float | None
    steps: int
    windows: tuple[WindowReport, ...]
    seconds: float
    reading: str = ""

    @property
    def faithful(self) -> bool:
        return self.faithfulness.faithful

    def top(self, count: int) -> tuple[TokenAttribution, ...]:
        """The tokens that mattered most, by size of their value."""
        return tuple(sorted(self.tokens, key=lambda token: -abs(token.value))[:count])


@dataclass(frozen=True)
class AttentionMap:
    """`matrix` [T, T] of the worst window: row i is what token i looks at; rows sum to 1. `tokens` label both sides."""

    head: str
    layer: int | None
    attention_head: int | None
    tokens: tuple[TokenSource, ...]
    matrix: Floats
