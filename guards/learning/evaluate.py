"""What a head is worth on a file of rows, with 95% intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from guards.base import ScoreInput
from guards.errors import InvalidInput, UnknownName
from guards.learning.data import Labelled, Pair, read_rows
from guards.learning.estimates import Estimate, calibration_estimate, correlation_estimate
from guards.learning.metrics import Floats, Labels, Measure, auroc, f1, pair_accuracy, wilson
from guards.normalize import normalize
from guards.readings.find import request_input
from guards.refusals import refusal_half
from guards.rewards.guard import head_risk
from guards.rewards.reward_model import RewardModel
from guards.types import HeadScore


class MeasureFields(TypedDict):
    value: float
    low: float
    high: float
    n: int


class CategoryFields(TypedDict):
    n: int
    metrics: dict[str, MeasureFields]


class Evaluation(TypedDict):
    """As printed by `wardgate evaluate`."""

    file: str
    head: str
    n: int
    metrics: dict[str, MeasureFields]
    categories: NotRequired[dict[str, CategoryFields]]  # where rows name one


_MeasureSome = Callable[[NDArray[np.bool_]], dict[str, MeasureFields]]  # of the rows of a mask


@dataclass(frozen=True)
class _Labels:
    """What labelled rows were scored, [rows] each."""

    labels: Labels
    rewards: Floats
    risks: Floats
    tokens: Floats

    def where(self, mask: NDArray[np.bool_]) -> _Labels:
        return _Labels(self.labels[mask], self.rewards[mask], self.risks[mask], self.tokens[mask])


def evaluate_file(
    model: RewardModel,
    path: Path,
    head: str,
    threshold: float = 0.5,
    risk: Callable[[HeadScore], float] = head_risk,
) -> Evaluation:
    """Labels give auroc, f1, recall and false_positive_rate at risk >= threshold, ece (of the rows as they are) and
    length_correlation (Spearman, of reward with tokens). Pairs give accuracy, and of refusal pairs accuracy_safe
    and accuracy_unsafe: by the rows' `half`, and for rows without one by what their answers begin with.

    A metric that the file cannot have, for want of a class or of rows, is left out.
    """
    kinds = {spec.name: spec.input for spec in model.manifest.heads}
    if head not in kinds:
        raise UnknownName("head", head, tuple(kinds))
    if not 0.0 <= threshold <= 1.0:
        raise InvalidInput("the threshold is a risk in [0, 1]")
    rows = read_rows(path)
    pairs = [row for row in rows if isinstance(row, Pair)]
    labelled = [row for row in rows if isinstance(row, Labelled)]
    if pairs and labelled:
        raise InvalidInput(f"{path} mixes pairs and labelled rows; split it into two files")
    if any(_kind(row) != kinds[head] for row in rows):
        raise InvalidInput(f"head {head} judges a {kinds[head]}, and {path} holds rows of the other kind")
    measured = _measure_pairs(model, pairs, head) if pairs else _measure_labels(model, labelled, head, threshold, risk)
    evaluation = Evaluation(
        file=path.name, head=head, n=len(rows), metrics=measured(np.ones(len(rows), dtype=np.bool_))
    )
    categories = np.array([row.category for row in rows])
    named = sorted(set(categories.tolist()) - {""})
    if named:
        evaluation["categories"] = {
            name: CategoryFields(n=int((categories == name).sum()), metrics=measured(categories == name))
            for name in named
        }
    return evaluation


def _kind(row: Labelled | Pair) -> str:
    return "prompt" if isinstance(row, Labelled) and row.response is None else "exchange"


def _measure_pairs(model: RewardModel, pairs: Sequence[Pair], head: str) -> _MeasureSome:
    texts = [(pair.prompt, reply) for pair in pairs for reply in (pair.chosen, pair.rejected)]
    scored = model.score([ScoreInput(normalize(prompt), normalize(reply)) for prompt, reply in texts])
    rewards = np.array([text.heads[head].reward for text in scored]).reshape(-1, 2)
    halves = np.array([pair.half or refusal_half(pair.chosen, pair.rejected) for pair in pairs])
    return lambda mask: _of_pairs(rewards[mask, 0], rewards[mask, 1], halves[mask])


def _of_pairs(chosen: Floats, rejected: Floats, halves: NDArray[np.str_]) -> dict[str, MeasureFields]:
    metrics = {"accuracy": _fields(pair_accuracy(chosen, rejected), len(chosen))}
    for half in ("safe", "unsafe"):
        mask = halves == half
        if mask.any():
            metrics[f"accuracy_{half}"] = _fields(pair_accuracy(chosen[mask], rejected[mask]), int(mask.sum()))
    return metrics


def _measure_labels(
    model: RewardModel, rows: Sequence[Labelled], head: str, threshold: float, risk: Callable[[HeadScore], float]
) -> _MeasureSome:
    scored = model.score([_item(row) for row in rows])
    scores = _Labels(
        np.array([row.label for row in rows], dtype=np.int64),
        np.array([text.heads[head].reward for text in scored]),
        np.array([risk(text.heads[head]) for text in scored]),
        np.array([text.coverage.tokens_scored for text in scored], dtype=np.float64),
    )
    return lambda mask: _of_labels(scores.where(mask), threshold)


def _of_labels(scores: _Labels, threshold: float) -> dict[str, MeasureFields]:
    labels, n = scores.labels, len(scores.labels)
    flagged = (scores.risks >= threshold).astype(np.int64)
    unsafe = int(labels.sum())
    safe = n - unsafe
    metrics = {}
    if unsafe and safe:
        metrics["auroc"] = _fields(auroc(-scores.rewards, labels), n)
    if unsafe:
        metrics["f1"] = _fields(f1(flagged, labels), n)
        metrics["recall"] = _fields(wilson(int(flagged[labels == 1].sum()), unsafe), unsafe)
    if safe:
        metrics["false_positive_rate"] = _fields(wilson(int(flagged[labels == 0].sum()), safe), safe)
    if unsafe and safe:
        metrics["ece"] = _fields(calibration_estimate(scores.risks[np.newaxis], labels), n)
    correlation = correlation_estimate(scores.rewards[np.newaxis], scores.tokens)
    if correlation:
        metrics["length_correlation"] = _fields(correlation, n)
    return metrics


def _item(row: Labelled) -> ScoreInput:
    if row.response is None:
        return request_input(row.prompt)
    return ScoreInput(normalize(row.prompt), normalize(row.response))


def _fields(measure: Measure | Estimate, n: int) -> MeasureFields:
    return MeasureFields(value=measure.value, low=measure.low, high=measure.high, n=n)
