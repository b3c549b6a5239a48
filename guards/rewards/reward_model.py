"""A reward model ready to score: tokens in, calibrated head scores out.

The service drives `encode`, its own batches and `combine`; `score` is the same road without a
batcher, for the command line, training and evaluation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from guards.base import ScoreInput
from guards.errors import ModelError, ScoringError
from guards.normalize import NORMALIZER_VERSION
from guards.rewards.encoding import EncodedSequence, EncodedText, TextEncoder, pad
from guards.rewards.manifest import Manifest, file_sha256, load_manifest
from guards.rewards.runtimes.base import FloatArray, Runtime
from guards.types import HeadScore, ModelIdentity, TextScores

EMBEDDED_DIR = Path(__file__).parent / "embedded"
DEFAULT_MAX_WINDOWS = 64  # about 10,000 tokens; bounds the work one text can ask for


class RewardModel:
    """Thread-safe when its runtime is."""

    def __init__(
        self,
        manifest: Manifest,
        digest: str,
        encoder: TextEncoder,
        runtime: Runtime,
        max_windows: int = DEFAULT_MAX_WINDOWS,
    ) -> None:
        if tuple(runtime.heads) != manifest.head_names:
            raise ModelError(f"runtime {runtime.name} has other heads than the manifest; export the model again")
        if max_windows < 1:
            raise ModelError("max_windows must be at least 1")
        self.manifest = manifest
        self.runtime = runtime
        self.heads = manifest.head_names
        self.identity = ModelIdentity(
            name=manifest.name,
            version=manifest.version,
            digest=digest,
            calibration=",".join(head.calibration.id for head in manifest.heads),
            normalizer=manifest.normalizer,
        )
        self._encoder = encoder
        self._max_windows = max_windows

    def encode(self, item: ScoreInput) -> EncodedText:
        """Token windows of one text; synchronous, from any thread."""
        return self._encoder.encode(item, self._max_windows)

    def combine(self, encoded: EncodedText, rewards: FloatArray) -> Mapping[str, HeadScore]:
        """The worst window of every head that judges this kind; `rewards` is [windows, heads]."""
        if rewards.shape != (len(encoded.sequences), len(self.heads)):
            raise ScoringError(f"rewards have shape {rewards.shape}, not {(len(encoded.sequences), len(self.heads))}")
        scores = {}
        for column, spec in enumerate(self.manifest.heads):
            if spec.input != encoded.kind:
                continue
            values = rewards[:, column]
            if not np.isfinite(values).all():
                raise ScoringError(f"head {spec.name} gave a reward that is not a finite number")
            worst = int(values.argmin())
            reward = float(values[worst])
            window = encoded.sequences[worst]
            scores[spec.name] = HeadScore(spec.name, reward, spec.calibration.risk(reward), window.start, window.end)
        return scores

    def score(self, items: Sequence[ScoreInput], batch_tokens: int = 512) -> tuple[TextScores, ...]:
        """All items in order; windows are batched by length, about `batch_tokens` tokens at a time."""
        encoded = [self.encode(item) for item in items]
        flat = [sequence for text in encoded for sequence in text.sequences]
        rewards = np.empty((len(flat), len(self.heads)), dtype=np.float32)
        for rows in batches_by_length(flat, batch_tokens):
            rewards[rows] = self.runtime.forward(pad([flat[row] for row in rows]))
        scores, start = [], 0
        for text in encoded:
            end = start + len(text.sequences)
            heads = self.combine(text, rewards[start:end])
            scores.append(TextScores(heads, text.coverage, model_digest=self.identity.digest))
            start = end
        return tuple(scores)


def batches_by_length(sequences: Sequence[EncodedSequence], batch_tokens: int) -> Iterator[list[int]]:
    """Row numbers, shortest first, in batches of at most `batch_tokens` padded tokens (or one row)."""
    batch: list[int] = []
    for row in sorted(range(len(sequences)), key=lambda row: len(sequences[row])):
        if batch and (len(batch) + 1) * len(sequences[row]) > batch_tokens:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def load_reward_model(
    artefact_dir: Path,
    encoder_dir: Path,
    runtime: Literal["onnx", "torch"] = "onnx",
    onnx_path: Path | None = None,
    threads: int = 1,
    device: str = "cpu",
    max_windows: int = DEFAULT_MAX_WINDOWS,
) -> RewardModel:
    """Load and check digests; `onnx_path` is what `export_onnx` wrote for this very manifest.

    `threads` are per forward (intra-op); `device` counts for torch only.
    """
    manifest, digest = load_manifest(artefact_dir)
    if manifest.normalizer != NORMALIZER_VERSION:
        raise ModelError(
            f"the heads were trained with normalizer {manifest.normalizer}, this build has {NORMALIZER_VERSION};"
            " train them again or use the matching build"
        )
    tokenizer = encoder_dir / "tokenizer.json"
    if file_sha256(tokenizer) != manifest.encoder.tokenizer_sha256:
        raise ModelError(f"{tokenizer} is not of {manifest.encoder.source}; run `wardgate models pull`")
    encoder = TextEncoder.from_file(tokenizer, manifest.window)
    loaded = _load_runtime(manifest, digest, artefact_dir, encoder_dir, runtime, onnx_path, threads, device)
    return RewardModel(manifest, digest, encoder, loaded, max_windows)


def _load_runtime(
    manifest: Manifest,
    digest: str,
    artefact_dir: Path,
    encoder_dir: Path,
    runtime: Literal["onnx", "torch"],
    onnx_path: Path | None,
    threads: int,
    device: str,
) -> Runtime:
    # imported here: an image that scores with one runtime carries only that one
    if runtime == "torch":
        from guards.rewards.runtimes.torch import TorchRuntime

        return TorchRuntime.load(manifest, artefact_dir, encoder_dir, device=device, threads=threads)
    from guards.rewards.runtimes.onnx import OnnxRuntime

    if onnx_path is None:
        raise ModelError("the onnx runtime needs onnx_path; run `wardgate models pull` to export the graph")
    loaded = OnnxRuntime(onnx_path, threads=threads)
    if loaded.manifest_digest != digest:
        raise ModelError(f"{onnx_path} was exported from another manifest; run `wardgate models pull` again")
    return loaded
