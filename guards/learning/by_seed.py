"""Held-out scores of one head as arrays [seeds, rows]: what every statistic of the suite is made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guards.errors import InvalidInput
from guards.learning.heldout import HeldOutScores, ScoredPair, ScoredRow
from guards.learning.metrics import Floats, Labels

Names = NDArray[np.str_]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class LabelledScores:
    """The labelled rows of a head."""

    sources: Names  # [rows]
    categories: Names  # [rows]
    labels: Labels  # [rows], 1 = unsafe
    tokens: Labels  # [rows]
    rewards: Floats  # [seeds, rows]
    risks: Floats  # [seeds, rows]

    def __len__(self) -> int:
        return len(self.labels)

    def where(self, mask: Mask) -> LabelledScores:
        return LabelledScores(
            self.sources[mask],
            self.categories[mask],
            self.labels[mask],
            self.tokens[mask],
            self.rewards[:, mask],
            self.risks[:, mask],
        )


@dataclass(frozen=True)
class PairScores:
    """The pairs of a head."""

    sources: Names  # [pairs]
    categories: Names  # [pairs]
    halves: Names  # [pairs]: "", "safe" or "unsafe"
    chosen: Floats  # [seeds, pairs]
    rejected: Floats  # [seeds, pairs]
    chosen_tokens: Labels  # [pairs]
    rejected_tokens: Labels  # [pairs]

    def __len__(self) -> int:
        return len(self.sources)

    def where(self, mask: Mask) -> PairScores:
        return PairScores(
            self.sources[mask],
            self.categories[mask],
            self.halves[mask],
            self.chosen[:, mask],
            self.rejected[:, mask],
            self.chosen_tokens[mask],
            self.rejected_tokens[mask],
        )


def labelled_scores(scores: HeldOutScores, head: str) -> LabelledScores:
    """Raises InvalidInput where the seeds did not score the same rows in the same order."""
    rows = [row for row in scores.rows if row.head == head]
    by_seed = [[row for row in rows if row.seed == seed] for seed in scores.seeds]
    identities = [[(row.source, row.category, row.label, row.tokens) for row in one] for one in by_seed]
    _check_same(identities, len(rows), head, "rows")
    first: list[ScoredRow] = by_seed[0]
    return LabelledScores(
        _names(row.source for row in first),
        _names(row.category for row in first),
        np.array([row.label for row in first], dtype=np.int64),
        np.array([row.tokens for row in first], dtype=np.int64),
        np.array([[row.reward for row in one] for one in by_seed], dtype=np.float64),
        np.array([[row.risk for row in one] for one in by_seed], dtype=np.float64),
    )


def pair_scores(scores: HeldOutScores, head: str) -> PairScores:
    """Raises InvalidInput where the seeds did not score the same pairs in the same order."""
    pairs = [pair for pair in scores.pairs if pair.head == head]
    by_seed = [[pair for pair in pairs if pair.seed == seed] for seed in scores.seeds]
    identities = [
        [(pair.source, pair.category, pair.half, pair.chosen_tokens, pair.rejected_tokens) for pair in one]
        for one in by_seed
    ]
    _check_same(identities, len(pairs), head, "pairs")
    first: list[ScoredPair] = by_seed[0]
    return PairScores(
        _names(pair.source for pair in first),
        _names(pair.category for pair in first),
        _names(pair.half for pair in first),
        np.array([[pair.chosen for pair in one] for one in by_seed], dtype=np.float64),
        np.array([[pair.rejected for pair in one] for one in by_seed], dtype=np.float64),
        np.array([pair.chosen_tokens for pair in first], dtype=np.int64),
        np.array([pair.rejected_tokens for pair in first], dtype=np.int64),
    )


def _check_same(identities: Sequence[Sequence[object]], total: int, head: str, what: str) -> None:
    if not identities or sum(map(len, identities)) != total:
        raise InvalidInput(f"the scores of {head} hold {what} of a seed that is not named; score again")
    if any(one != identities[0] for one in identities[1:]):
        raise InvalidInput(f"the seeds of {head} did not score the same {what} in the same order; score again")


def _names(values: Iterable[str]) -> Names:
    return np.array(list(values), dtype=np.str_)
