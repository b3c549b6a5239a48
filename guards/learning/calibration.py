"""Platt scaling (1999) and temperature scaling (Guo 2017): rewards of held-out sources to P(unsafe)."""

from __future__ import annotations

import hashlib

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit

from guards.errors import InvalidInput
from guards.learning.metrics import Floats, Labels
from guards.rewards.manifest import Calibration

_SMALLEST_SLOPE = 1e-3  # the order of rewards may not flip
_LARGEST_LOG_SLOPE = 7.0


def fit_platt(rewards: Floats, labels: Labels, weights: Floats) -> Calibration:
    """`a`, `b` of risk = sigmoid(-(a * reward + b)) by weighted maximum likelihood."""
    if len(np.unique(labels)) < 2:
        raise InvalidInput("calibration needs safe and unsafe rows")
    signs = np.where(labels == 1, 1.0, -1.0)
    share = weights / weights.sum()

    def loss(parameters: Floats) -> tuple[float, Floats]:
        slope, offset = parameters
        margin = signs * (slope * rewards + offset)  # large where the risk is wrong
        value = float(share @ np.logaddexp(0.0, margin))
        pull = share * signs * expit(margin)
        return value, np.array([pull @ rewards, pull.sum()])

    found = minimize(
        loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(_SMALLEST_SLOPE, None), (None, None)]
    )
    slope, offset = (round(float(value), 6) for value in found.x)
    return Calibration(method="platt", a=slope, b=offset, id=f"platt-{_digest(rewards, labels, weights)}")


def fit_temperature(rewards: Floats, labels: Labels, weights: Floats) -> Calibration:
    """`a` alone: Platt with b = 0, so that a reward of 0 stays at risk 0.5. The temperature is 1 / a."""
    signs = np.where(labels == 1, 1.0, -1.0)
    share = weights / weights.sum()

    def loss(log_slope: float) -> float:
        return float(share @ np.logaddexp(0.0, signs * np.exp(log_slope) * rewards))

    found = minimize_scalar(loss, bounds=(float(np.log(_SMALLEST_SLOPE)), _LARGEST_LOG_SLOPE), method="bounded")
    slope = round(float(np.exp(found.x)), 6)
    return Calibration(method="temperature", a=slope, b=0.0, id=f"temperature-{_digest(rewards, labels, weights)}")


def _digest(rewards: Floats, labels: Labels, weights: Floats) -> str:
    return hashlib.sha256(np.stack([rewards, labels, weights]).astype("<f8").tobytes()).hexdigest()[:12]


def risks(calibration: Calibration, rewards: Floats) -> Floats:
    return np.asarray(expit(-(calibration.a * rewards + calibration.b)), dtype=np.float64)
