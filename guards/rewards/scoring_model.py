"""What a batched scorer needs of a model, and what all such models do alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Sized
from typing import Protocol

import numpy as np

from guards.base import ScoreInput
from guards.errors import ScoringError
from guards.rewards.encoding import EncodedText, pad
from guards.rewards.manifest import Calibration
from guards.rewards.runtimes.base import FloatArray, Runtime
from guards.types import HeadScore, ModelIdentity, TextScores


class ScoringModel(Protocol):
    """Tokens in, calibrated head scores out. Thread-safe when its runtime is."""

    @property
    def identity(self) -> ModelIdentity: ...

    @property
    def heads(self) -> Sequence[str]: ...

    @property
    def runtime(self) -> Runtime: ...

    def encode(self, item: ScoreInput) -> EncodedText:
        """Token windows of one text, none when no head judges such texts; synchronous, from any thread."""
        ...

    def combine(self, encoded: EncodedText, rewards: FloatArray) -> Mapping[str, HeadScore]:
        """The worst window of every head that judges the text; `rewards` is [windows, columns]."""
        ...


def check_shape(encoded: EncodedText, rewards: FloatArray, columns: int) -> None:
    """Raises ScoringError unless there is one row for each window, of one number for each column."""
    if rewards.shape != (len(encoded.sequences), columns):
        raise ScoringError(f"rewards have shape {rewards.shape}, not {(len(encoded.sequences), columns)}")


def worst_window(
    head: str, calibration: Calibration, encoded: EncodedText, rewards: FloatArray, spreads: FloatArray | None = None
) -> HeadScore:
    """`rewards` and `spreads` [windows], at least one. Raises ScoringError for one that is no finite number."""
    if not np.isfinite(rewards).all() or not (spreads is None or np.isfinite(spreads).all()):
        raise ScoringError(f"head {head} gave a reward that is not a finite number")
    worst = int(rewards.argmin())
    reward = float(rewards[worst])
    window = encoded.sequences[worst]
    spread = 0.0 if spreads is None else float(spreads[worst])
    risk, risk_high = calibration.risk(reward), calibration.risk(reward - spread)
    return HeadScore(head, reward, risk, window.start, window.end, spread, risk_high, window.reading)


def score_now(model: ScoringModel, items: Sequence[ScoreInput], batch_tokens: int) -> tuple[TextScores, ...]:
    """All items in order, without a batcher; windows go by length, about `batch_tokens` tokens at a time."""
    encoded = [model.encode(item) for item in items]
    flat = [sequence for text in encoded for sequence in text.sequences]
    rewards = np.empty((len(flat), len(model.runtime.heads)), dtype=np.float32)
    for rows in batches_by_length(flat, batch_tokens):
        rewards[rows] = model.runtime.forward(pad([flat[row] for row in rows]))
    scores, start = [], 0
    for text in encoded:
        end = start + len(text.sequences)
        heads = model.combine(text, rewards[start:end])
        scores.append(TextScores(heads, text.coverage, model_digest=model.identity.digest))
        start = end
    return tuple(scores)


def batches_by_length(sequences: Sequence[Sized], batch_tokens: int) -> Iterator[list[int]]:
    """Row numbers, shortest first, in batches of at most `batch_tokens` padded tokens (or one row)."""
    batch: list[int] = []
    for row in sorted(range(len(sequences)), key=lambda row: len(sequences[row])):
        if batch and (len(batch) + 1) * len(sequences[row]) > batch_tokens:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
