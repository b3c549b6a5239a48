"""From files of texts to a calibration: score, perhaps remap, bound, and remember what the texts looked like."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from guards.base import ScoreInput
from guards.drift import TextFeatures, reference_of
from guards.errors import ConfigError, InvalidInput, UnknownName
from guards.learning.conformal import conformal_threshold, require_enough
from guards.learning.data import Labelled, read_rows
from guards.normalize import NormalizedText, normalize
from guards.readings.find import request_input
from guards.rewards.calibrated import CalibratedThreshold, CalibrationError, RiskMap
from guards.rewards.isotonic import Isotonic
from guards.rewards.reward_model import RewardModel
from guards.scripts import Script, dominant_script
from guards.types import HeadScore


@dataclass(frozen=True, slots=True)
class CalibrationTask:
    """What to promise, and for whom. `alpha` and `delta` are shares in (0, 1)."""

    name: str
    policy: str
    guard: str
    head: str
    alpha: float
    delta: float
    valid_days: int
    seed: int = 0


@dataclass(frozen=True, slots=True)
class RiskMapReport:
    """What the labelled file said: the map that predicts it best, and by how much."""

    method: str
    risk_map: RiskMap | None
    log_loss: Mapping[str, float]  # by method, nats per row
    ece_before: CalibrationError
    ece_after: CalibrationError
    grouped: bool  # folds held whole sources


@dataclass(frozen=True, slots=True)
class CalibrationReport:
    """The calibration, and what only its maker needs to know."""

    calibration: CalibratedThreshold
    distinct: int  # different benign texts
    incomplete: int  # benign texts with more windows than are scored
    remapped: RiskMapReport | None


@dataclass(frozen=True, slots=True)
class ScoredRow:
    """A row as the reward model sees it."""

    score: HeadScore
    tokens: int
    complete: bool
    script: Script
    label: int
    source: str


def calibrate_files(
    model: RewardModel, task: CalibrationTask, benign: Path, labelled: Path | None = None, now: datetime | None = None
) -> CalibrationReport:
    """Raises InvalidInput when a file holds other rows than it should, or too few for the promise."""
    texts = benign_rows(benign)
    require_enough(len(texts), task.alpha, task.delta)  # before minutes of scoring
    remapped = _remap(model, task, labelled) if labelled else None
    scored = score_rows(model, task.head, texts, benign)
    risk_map = remapped.risk_map if remapped else None
    risks = [row.score.risk if risk_map is None else risk_map.risk(row.score.reward) for row in scored]
    highest = risk_map.highest if isinstance(risk_map, Isotonic) else 1.0
    found = conformal_threshold(risks, task.alpha, task.delta, highest)
    created = now or datetime.now(UTC)
    calibration = CalibratedThreshold(
        name=task.name,
        policy=task.policy,
        guard=task.guard,
        head=task.head,
        reward_model=model.identity.digest,
        normalizer=model.identity.normalizer,
        risk_map=risk_map,
        threshold=found.threshold,
        n=found.n,
        alpha=task.alpha,
        delta=task.delta,
        bound=found.bound,
        realised=found.realised,
        calibration_error=remapped.ece_after if remapped else None,
        created=created,
        expires=created + timedelta(days=task.valid_days),
        benign_sha256=_sha256(benign),
        reference=reference_of(
            [TextFeatures(risk, row.tokens, row.script) for risk, row in zip(risks, scored, strict=True)], task.seed
        ),
    )
    distinct = len({(row.prompt, row.response) for row in texts})
    return CalibrationReport(calibration, distinct, sum(not row.complete for row in scored), remapped)


def benign_rows(path: Path) -> tuple[Labelled, ...]:
    """Rows of harmless texts; they need no label. Raises InvalidInput when one is labelled unsafe."""
    rows = _labelled(read_rows(path, unlabelled=0), path)
    unsafe = sum(row.label for row in rows)
    if unsafe:
        raise InvalidInput(f"{path} holds {unsafe} rows labelled unsafe; a benign file holds harmless texts only")
    return rows


def score_rows(model: RewardModel, head: str, rows: Sequence[Labelled], path: Path) -> list[ScoredRow]:
    """Every row, in order. Raises InvalidInput when the head judges the other side."""
    kinds = {spec.name: spec.input for spec in model.manifest.heads}
    if head not in kinds:
        raise UnknownName("head", head, tuple(kinds))
    if any(("prompt" if row.response is None else "exchange") != kinds[head] for row in rows):
        shape = '{"prompt"}' if kinds[head] == "prompt" else '{"messages", "response"}'
        raise InvalidInput(f"head {head} judges a {kinds[head]}: every row of {path} must be {shape}")
    inputs = [_input(row) for row in rows]
    return [
        ScoredRow(
            score=scores.heads[head],
            tokens=scores.coverage.tokens_total,
            complete=scores.coverage.complete,
            script=dominant_script(_judged(item).text),
            label=row.label,
            source=row.source,
        )
        for row, item, scores in zip(rows, inputs, model.score(inputs), strict=True)
    ]


def _remap(model: RewardModel, task: CalibrationTask, path: Path) -> RiskMapReport:
    try:
        from guards.learning.risk_map import choose_risk_map  # scipy, which serving does without
    except ImportError as error:
        raise ConfigError("--labelled needs the training packages; install wardgate[train]") from error
    rows = score_rows(model, task.head, _labelled(read_rows(path), path), path)
    choice = choose_risk_map(
        rewards=np.array([row.score.reward for row in rows]),
        head_risks=np.array([row.score.risk for row in rows]),
        labels=np.array([row.label for row in rows], dtype=np.int64),
        sources=[row.source for row in rows],
        seed=task.seed,
    )
    before, after = (
        CalibrationError(value=measure.value, low=measure.low, high=measure.high, n=choice.n)
        for measure in (choice.ece_before, choice.ece_after)
    )
    return RiskMapReport(choice.method, choice.risk_map, choice.log_loss, before, after, choice.grouped)


def _labelled(rows: Sequence[object], path: Path) -> tuple[Labelled, ...]:
    labelled = tuple(row for row in rows if isinstance(row, Labelled))
    if len(labelled) < len(rows):
        raise InvalidInput(f"{path} holds preference pairs; calibration takes texts one by one")
    return labelled


def _input(row: Labelled) -> ScoreInput:
    if row.response is None:
        return request_input(row.prompt)
    return ScoreInput(normalize(row.prompt), normalize(row.response))


def _judged(item: ScoreInput) -> NormalizedText:
    return item.prompt if item.response is None else item.response


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
