"""Which map from reward to risk predicts best: the head's own, temperature, Platt or isotonic.

By cross-validated log loss. Folds hold whole sources, so that a map is judged on sources it was not fitted on;
with a single source rows are dealt out instead, and the choice says so. The simplest wins a tie. The figures
reported are of risks for rows that their map was not fitted on; the head's own map was fitted on other data
altogether.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from guards.errors import InvalidInput
from guards.learning.calibration import fit_platt, fit_temperature
from guards.learning.metrics import Floats, Labels, Measure, expected_calibration_error
from guards.rewards.calibrated import RiskMap
from guards.rewards.isotonic import fit_isotonic

HEAD = "head"
_FOLDS = 5
_LEAST = 1e-12  # of a probability, so that a certain mistake costs much and not everything

Fit = Callable[[Floats, Labels], RiskMap]


@dataclass(frozen=True, slots=True)
class RiskMapChoice:
    """`risk_map` is None when the head's own is best."""

    method: str
    risk_map: RiskMap | None
    log_loss: Mapping[str, float]  # by method, nats per row
    ece_before: Measure  # of the head's own risks
    ece_after: Measure
    n: int
    grouped: bool  # folds hold whole sources


def choose_risk_map(
    rewards: Floats, head_risks: Floats, labels: Labels, sources: Sequence[str], seed: int = 0
) -> RiskMapChoice:
    """Fits the winner on every row. Raises InvalidInput when rows of one class are too few to hold any out."""
    grouped = len(set(sources)) > 1
    folds = _folds(sources if grouped else [str(row) for row in range(len(labels))], seed)
    if any(len(np.unique(labels[folds != fold])) < 2 for fold in np.unique(folds)):
        raise InvalidInput(
            "the labelled file needs safe rows (label 0) and unsafe rows (label 1), each from two sources or more"
        )
    fits = {"temperature": _temperature, "platt": _platt, "isotonic": _isotonic}
    risks = {HEAD: head_risks} | {name: _held_out(fit, rewards, labels, folds) for name, fit in fits.items()}
    losses = {name: log_loss(of, labels) for name, of in risks.items()}
    best = min(losses, key=lambda name: losses[name])  # the first of equals, and they stand simplest first
    even = np.ones(len(labels))
    return RiskMapChoice(
        method=best,
        risk_map=None if best == HEAD else fits[best](rewards, labels),
        log_loss=losses,
        ece_before=expected_calibration_error(head_risks, labels, even, seed=seed),
        ece_after=expected_calibration_error(risks[best], labels, even, seed=seed),
        n=len(labels),
        grouped=grouped,
    )


def log_loss(risks: Floats, labels: Labels) -> float:
    right = np.where(labels == 1, risks, 1.0 - risks)
    return float(-np.log(np.maximum(right, _LEAST)).mean())


def _folds(groups: Sequence[str], seed: int) -> Labels:
    """A fold per row: groups, largest first, each to the fold with the fewest rows; equals in seeded order."""
    sizes = Counter(groups)
    names = sorted(sizes)
    np.random.default_rng(seed).shuffle(names)
    names.sort(key=lambda name: -sizes[name])
    load = [0] * min(_FOLDS, len(names))
    fold_of = {}
    for name in names:
        fold_of[name] = load.index(min(load))
        load[fold_of[name]] += sizes[name]
    return np.array([fold_of[group] for group in groups], dtype=np.int64)


def _held_out(fit: Fit, rewards: Floats, labels: Labels, folds: Labels) -> Floats:
    risks = np.empty(len(rewards))
    for fold in np.unique(folds):
        inside = folds == fold
        fitted = fit(rewards[~inside], labels[~inside])
        risks[inside] = [fitted.risk(float(reward)) for reward in rewards[inside]]
    return risks


def _temperature(rewards: Floats, labels: Labels) -> RiskMap:
    return fit_temperature(rewards, labels, np.ones(len(labels)))


def _platt(rewards: Floats, labels: Labels) -> RiskMap:
    return fit_platt(rewards, labels, np.ones(len(labels)))


def _isotonic(rewards: Floats, labels: Labels) -> RiskMap:
    return fit_isotonic(rewards.tolist(), labels.tolist())
