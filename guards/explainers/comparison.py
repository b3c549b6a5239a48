"""Methods side by side over many texts: how faithful each is, with 95% intervals, and what it costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from guards.base import ScoreInput
from guards.explainers.base import Attribution, Budget
from guards.explainers.explain import RewardExplainer, quality
from guards.explainers.explanation import Faithfulness
from guards.explainers.faithfulness import FaithfulnessTest
from guards.explainers.methods import CANDIDATES, METHODS
from guards.explainers.names import AUTO

RANDOM = "random"
_RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Case:
    """A text and the head to explain it by."""

    item: ScoreInput
    head: str
    kind: str = ""


@dataclass(frozen=True)
class Measured:
    """One method on one text's worst window. `attribution` None is the random orders'."""

    method: str
    case: Case
    tokens: int
    faithfulness: Faithfulness
    seconds: float
    attribution: Attribution | None = None


@dataclass(frozen=True, slots=True)
class Mean:
    """With its 95% interval: a bootstrap of texts."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class MethodFigures:
    """`faithful` is the share of texts on which the method did better than chance both ways; `seconds` a median."""

    method: str
    comprehensiveness: Mean
    sufficiency: Mean
    faithful: float
    seconds: float


def measure(
    explainer: RewardExplainer,
    cases: Sequence[Case],
    budget_s: float,
    methods: Sequence[str] = tuple(METHODS),
    on_case: Callable[[int], None] = lambda number: None,
) -> list[Measured]:
    """Every method on every case, random orders and AUTO among them where it can be told from the others."""
    found: list[Measured] = []
    for number, case in enumerate(cases):
        found += _of_case(explainer, case, budget_s, methods)
        on_case(number)
    return found


def _of_case(explainer: RewardExplainer, case: Case, budget_s: float, methods: Sequence[str]) -> list[Measured]:
    head, window = explainer.worst_window(case.item, case.head)
    test = FaithfulnessTest(head, window)
    tokens = len(window.ids)
    found = []
    for name in methods:
        started = time.perf_counter()
        attribution = METHODS[name].attribute(head, window, Budget.of(budget_s))
        seconds = time.perf_counter() - started
        found.append(Measured(name, case, tokens, test.measure(attribution), seconds, attribution))
    tried = [one for one in found if one.method in CANDIDATES]
    if len(tried) == len(CANDIDATES):
        best = max(tried, key=lambda one: quality(one.faithfulness))
        spent = sum(one.seconds for one in tried)
        found.append(Measured(AUTO, case, tokens, best.faithfulness, spent, best.attribution))
    chance = found[0].faithfulness
    as_random = Faithfulness(
        chance.random_comprehensiveness,
        chance.random_sufficiency,
        chance.random_comprehensiveness,
        chance.random_sufficiency,
    )
    return [*found, Measured(RANDOM, case, tokens, as_random, 0.0)]


def figures(measured: Sequence[Measured], seed: int = 0) -> list[MethodFigures]:
    """By method, in the order they were measured in."""
    by_method: dict[str, list[Measured]] = {}
    for one in measured:
        by_method.setdefault(one.method, []).append(one)
    return [
        MethodFigures(
            method=method,
            comprehensiveness=mean([one.faithfulness.comprehensiveness for one in some], seed),
            sufficiency=mean([one.faithfulness.sufficiency for one in some], seed),
            faithful=float(np.mean([one.faithfulness.faithful for one in some])),
            seconds=float(np.median([one.seconds for one in some])),
        )
        for method, some in by_method.items()
    ]


def mean(values: Sequence[float], seed: int = 0) -> Mean:
    """Percentile bootstrap; the interval of one value is that value."""
    array = np.asarray(values, dtype=np.float64)
    draws = np.random.default_rng(seed).integers(0, len(array), (_RESAMPLES, len(array)))
    low, high = np.percentile(array[draws].mean(1), (2.5, 97.5))
    return Mean(float(array.mean()), float(low), float(high), len(array))
