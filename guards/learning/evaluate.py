"""What a head is worth on a file of rows, with 95% intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np

from guards.base import ScoreInput
from guards.errors import InvalidInput, UnknownName
from guards.learning.data import Labelled, Pair, read_rows
from guards.learning.metrics import Measure, auroc, f1, pair_accuracy, wilson
from guards.normalize import normalize
from guards.rewards.guard import head_risk
from guards.rewards.reward_model import RewardModel
from guards.types import HeadScore


class MeasureFields(TypedDict):
    value: float
    low: float
    high: float


class Evaluation(TypedDict):
    """As printed by `wardgate evaluate`."""

    file: str
    head: str
    n: int
    metrics: dict[str, MeasureFields]


def evaluate_file(
    model: RewardModel,
    path: Path,
    head: str,
    threshold: float = 0.5,
    risk: Callable[[HeadScore], float] = head_risk,
) -> Evaluation:
    """Pairs give accuracy; labels give auroc, f1, recall and false_positive_rate at risk >= threshold.

    A metric that the file cannot have, for want of a class, is left out.
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
    metrics = _of_pairs(model, pairs, head) if pairs else _of_labels(model, labelled, head, threshold, risk)
    return Evaluation(
        file=path.name,
        head=head,
        n=len(rows),
        metrics={name: _fields(measure) for name, measure in metrics.items()},
    )


def _kind(row: Labelled | Pair) -> str:
    return "prompt" if isinstance(row, Labelled) and row.response is None else "exchange"


def _of_pairs(model: RewardModel, pairs: Sequence[Pair], head: str) -> dict[str, Measure]:
    texts = [(pair.prompt, reply) for pair in pairs for reply in (pair.chosen, pair.rejected)]
    scored = model.score([ScoreInput(normalize(prompt), normalize(reply)) for prompt, reply in texts])
    rewards = np.array([text.heads[head].reward for text in scored]).reshape(-1, 2)
    return {"accuracy": pair_accuracy(rewards[:, 0], rewards[:, 1])}


def _of_labels(
    model: RewardModel, rows: Sequence[Labelled], head: str, threshold: float, risk: Callable[[HeadScore], float]
) -> dict[str, Measure]:
    scored = model.score([_item(row) for row in rows])
    rewards = np.array([text.heads[head].reward for text in scored])
    flagged = np.array([risk(text.heads[head]) >= threshold for text in scored], dtype=np.int64)
    labels = np.array([row.label for row in rows], dtype=np.int64)
    unsafe, safe = int(labels.sum()), int(len(labels) - labels.sum())
    metrics = {}
    if unsafe and safe:
        metrics["auroc"] = auroc(-rewards, labels)
    if unsafe:
        metrics["f1"] = f1(flagged, labels)
        metrics["recall"] = wilson(int(flagged[labels == 1].sum()), unsafe)
    if safe:
        metrics["false_positive_rate"] = wilson(int(flagged[labels == 0].sum()), safe)
    return metrics


def _item(row: Labelled) -> ScoreInput:
    return ScoreInput(normalize(row.prompt), None if row.response is None else normalize(row.response))


def _fields(measure: Measure) -> MeasureFields:
    return MeasureFields(value=measure.value, low=measure.low, high=measure.high)
