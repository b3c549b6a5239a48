"""Calibrations as files, and a scorer whose risks a text states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np

from guards.base import ScoreInput
from guards.drift import TextFeatures, reference_of
from guards.normalize import NORMALIZER_VERSION
from guards.rewards.calibrated import CalibratedThreshold
from guards.scripts import Script
from guards.types import TextScores
from tests.fakes import FAKE_MODEL, FakeScorer

NOW = datetime.now(UTC)

CALIBRATED_POLICY = """
name: default
version: "1"
request:
  - kind: reward
    name: request-risk
    head: request_risk
    thresholds: {block: {calibration: shop}, flag: 0.9}
"""


def usual_risk(generator: np.random.Generator) -> float:
    return round(float(generator.beta(1, 6)), 6)


def calibration(**changes: object) -> CalibratedThreshold:
    """For FakeScorer's model: blocks from risk 0.7; its texts had `usual_risk` and ten tokens."""
    generator = np.random.default_rng(1)
    texts = [TextFeatures(usual_risk(generator), 10, Script.LATIN) for _ in range(1000)]
    made = CalibratedThreshold(
        name="shop",
        policy="default",
        guard="request-risk",
        head="request_risk",
        reward_model=FAKE_MODEL.digest,
        normalizer=NORMALIZER_VERSION,
        threshold=0.7,
        n=1000,
        alpha=0.01,
        delta=0.05,
        bound=0.009,
        realised=0.004,
        created=NOW - timedelta(days=1),
        expires=NOW + timedelta(days=30),
        benign_sha256="b" * 64,
        reference=reference_of(texts),
    )
    return CalibratedThreshold.model_validate(made.model_dump() | changes)


class StatedRisk(FakeScorer):
    """A text that ends in a number is that risky."""

    async def score(self, inputs: Sequence[ScoreInput], deadline: float) -> tuple[TextScores, ...]:
        scored = await super().score(inputs, deadline)
        return tuple(_stated(item, one) for item, one in zip(inputs, scored, strict=True))


def _stated(item: ScoreInput, scores: TextScores) -> TextScores:
    (head,) = scores.heads.values()
    text = item.prompt if item.response is None else item.response
    return replace(scores, heads={head.head: replace(head, risk=float(text.original.split()[-1]))})
