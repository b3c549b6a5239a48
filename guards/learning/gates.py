"""Goals that held-out scores are held against: one YAML file, `gates.yaml` unless another is named.

A gate compares the mean over seeds with its limit. One whose head or sources have no rows fails: what was
not measured was not reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, Self

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from guards.errors import ConfigError
from guards.learning.by_seed import LabelledScores, Mask, Names, PairScores, labelled_scores, pair_scores
from guards.learning.estimates import Estimate, calibration_estimate
from guards.learning.heldout import HeldOutScores
from guards.learning.suite import pair_slice, slice_of, threshold_of

GATES = Path(__file__).parent / "gates.yaml"

LabelMetric = Literal["auroc", "recall", "false_positive_rate", "ece", "ece_balanced"]
PairMetric = Literal["accuracy", "accuracy_safe", "accuracy_unsafe"]
_HALVES: dict[str, str] = {"accuracy": "", "accuracy_safe": "safe", "accuracy_unsafe": "unsafe"}


class Gate(BaseModel):
    """One goal. `sources` and `categories` are shell patterns; empty takes all. Exactly one limit."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str = Field(min_length=1)
    head: str
    metric: LabelMetric | PairMetric
    sources: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    at_least: float | None = Field(default=None, ge=0, le=1)
    at_most: float | None = Field(default=None, ge=0, le=1)

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("a gate has either at_least or at_most")
        return self

    def passes(self, value: float) -> bool:
        if self.at_least is not None:
            return value >= self.at_least
        return self.at_most is not None and value <= self.at_most

    @property
    def limit(self) -> str:
        return f"≥ {self.at_least:g}" if self.at_least is not None else f"≤ {self.at_most:g}"


class _Gates(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    gates: tuple[Gate, ...] = Field(min_length=1)


@dataclass(frozen=True)
class GateResult:
    """`estimate` is None where nothing was held out for the gate; then it has not passed."""

    gate: Gate
    estimate: Estimate | None
    passed: bool
    clear: bool  # the whole interval is on the side of `passed`


def load_gates(path: Path = GATES) -> tuple[Gate, ...]:
    """Raises ConfigError that says what is wrong."""
    try:
        return _Gates.model_validate(yaml.safe_load(path.read_bytes())).gates
    except OSError as error:
        raise ConfigError(f"cannot read the gates {path}: {error.strerror}") from error
    except (yaml.YAMLError, ValidationError) as error:
        raise ConfigError(f"{path} is not a file of gates: {error}") from error


def check_gates(gates: Sequence[Gate], scores: HeldOutScores) -> tuple[GateResult, ...]:
    heads = {gate.head for gate in gates}.intersection(scores.heads)
    rows = {head: labelled_scores(scores, head) for head in heads}
    pairs = {head: pair_scores(scores, head) for head in heads}

    def estimate(gate: Gate) -> Estimate | None:
        if gate.head not in heads:
            return None
        if gate.metric in _HALVES:
            return _of_pairs(gate, pairs[gate.head])
        return _of_rows(gate, rows[gate.head], scores)

    return tuple(_checked(gate, estimate(gate)) for gate in gates)


def _checked(gate: Gate, estimate: Estimate | None) -> GateResult:
    if estimate is None:
        return GateResult(gate, None, passed=False, clear=True)
    passed = gate.passes(estimate.value)
    return GateResult(gate, estimate, passed, passed == gate.passes(estimate.low) == gate.passes(estimate.high))


def _of_pairs(gate: Gate, pairs: PairScores) -> Estimate | None:
    half = _HALVES[gate.metric]
    mask = _members(gate, pairs.sources, pairs.categories) & (pairs.halves == half)
    return pair_slice(pairs.where(mask), gate.name, half).accuracy if mask.any() else None


def _of_rows(gate: Gate, rows: LabelledScores, scores: HeldOutScores) -> Estimate | None:
    mask = _members(gate, rows.sources, rows.categories)
    if not mask.any():
        return None
    if gate.metric.startswith("ece"):
        chosen = rows.where(mask)
        if len(np.unique(chosen.labels)) < 2:
            return None
        return calibration_estimate(chosen.risks, chosen.labels, gate.metric == "ece_balanced")
    measured = slice_of(rows, mask, gate.name, threshold_of(scores, gate.head), pool=True)
    return {
        "auroc": measured.auroc,
        "recall": measured.recall,
        "false_positive_rate": measured.false_positive_rate,
    }[gate.metric]


def _members(gate: Gate, sources: Names, categories: Names) -> Mask:
    return _matching(sources, gate.sources) & _matching(categories, gate.categories)


def _matching(names: Names, patterns: Sequence[str]) -> Mask:
    if not patterns:
        return np.ones(len(names), dtype=np.bool_)
    kept = [name for name in np.unique(names) if any(fnmatchcase(str(name), pattern) for pattern in patterns)]
    return np.asarray(np.isin(names, kept), dtype=np.bool_)
