"""A checkpoint ready to score, by the same road as the reward model of our own: encode, forward, combine."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from guards.base import ScoreInput
from guards.errors import ModelError
from guards.normalize import NORMALIZER_VERSION
from guards.rewards.checkpoints.classifier import open_classifier
from guards.rewards.checkpoints.encoding import CheckpointEncoder
from guards.rewards.checkpoints.files import CheckpointFiles, open_checkpoint_files
from guards.rewards.checkpoints.generative import open_generative
from guards.rewards.checkpoints.readout import Readout
from guards.rewards.checkpoints.reward import open_reward
from guards.rewards.checkpoints.spec import CheckpointSpec
from guards.rewards.encoding import EncodedText
from guards.rewards.runtimes.base import FloatArray, Runtime
from guards.rewards.scoring_model import check_shape, score_now, worst_window
from guards.types import HeadScore, ModelIdentity, Stage, TextScores

_OPEN: Mapping[str, Callable[[str, CheckpointSpec, CheckpointFiles], Readout]] = {
    "reward": open_reward,
    "classifier": open_classifier,
    "generative": open_generative,
}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint read and checked, its weights not loaded.

    `digest`: sha256 over the files and over how they are read; calibration aside, which only moves the risk.
    """

    name: str
    spec: CheckpointSpec
    readout: Readout
    encoder: CheckpointEncoder
    digest: str

    @property
    def head_stages(self) -> Mapping[str, frozenset[Stage]]:
        """Which sides each head judges."""
        return dict.fromkeys(self.readout.heads, self.spec.stages)


def open_checkpoint(name: str, spec: CheckpointSpec, folder: Path) -> Checkpoint:
    """Reads all but the weights. Raises ModelError naming the file or setting and the mend."""
    files = open_checkpoint_files(folder)
    readout = _OPEN[spec.kind](name, spec, files)
    encoder = CheckpointEncoder(spec, files)
    reading = spec.model_dump_json(exclude={"calibration", "max_windows", "judges"})
    digest = hashlib.sha256(f"{files.digest}\n{','.join(readout.heads)}\n{reading}".encode()).hexdigest()
    return Checkpoint(name, spec, readout, encoder, digest)


class CheckpointModel:
    """A `ScoringModel`. `version` is the source's, such as a revision."""

    def __init__(self, checkpoint: Checkpoint, runtime: Runtime, version: str = "") -> None:
        if tuple(runtime.heads) != checkpoint.readout.heads:
            raise ModelError(f"the graph of {checkpoint.name} has other heads; run: wardgate models pull")
        self._checkpoint = checkpoint
        self._calibration = checkpoint.spec.calibrated()
        self.runtime = runtime
        self.heads: Sequence[str] = checkpoint.readout.heads
        self.identity = ModelIdentity(
            name=checkpoint.name,
            version=version or checkpoint.digest[:12],
            digest=checkpoint.digest,
            calibration=self._calibration.id,
            normalizer=NORMALIZER_VERSION,
        )

    def encode(self, item: ScoreInput) -> EncodedText:
        return self._checkpoint.encoder.encode(item, self._checkpoint.spec.max_windows)

    def combine(self, encoded: EncodedText, rewards: FloatArray) -> Mapping[str, HeadScore]:
        """Empty for a side that the model does not judge."""
        check_shape(encoded, rewards, len(self.heads))
        if not encoded.sequences:
            return {}
        return {
            head: worst_window(head, self._calibration, encoded, rewards[:, column])
            for column, head in enumerate(self.heads)
        }

    def score(self, items: Sequence[ScoreInput], batch_tokens: int = 512) -> tuple[TextScores, ...]:
        """All items in order, without a batcher."""
        return score_now(self, items, batch_tokens)


def load_torch_runtime(checkpoint: Checkpoint, device: str = "cpu", dtype: str = "") -> Runtime:
    """Raises ModelError, also when torch is not installed."""
    try:
        from guards.rewards.checkpoints.torch_runtime import CheckpointTorchRuntime
    except ImportError as error:
        raise ModelError(f"model {checkpoint.name} needs torch and transformers; install wardgate[local]") from error
    return CheckpointTorchRuntime(checkpoint.readout.load(None), checkpoint.readout.heads, device, dtype)


def load_onnx_runtime(checkpoint: Checkpoint, graph: Path, threads: int = 1) -> Runtime:
    """`graph` is what `export_graph` wrote for this very checkpoint; checked."""
    from guards.rewards.runtimes.onnx import OnnxRuntime

    runtime = OnnxRuntime(graph, threads=threads)
    if runtime.manifest_digest != checkpoint.digest:
        raise ModelError(f"{graph} is the graph of another model; run: wardgate models pull")
    return runtime


def export_graph(checkpoint: Checkpoint, out: Path) -> None:
    """The ONNX graph, written only after it gave torch's rewards. Raises NotExportable saying why it did not."""
    try:
        from guards.rewards.checkpoints.onnx_export import export_checkpoint
    except ImportError as error:
        raise ModelError("exporting needs torch, transformers and onnx; install wardgate[train]") from error
    network = checkpoint.readout.load("eager")
    export_checkpoint(network, checkpoint.readout.heads, checkpoint.digest, checkpoint.encoder.longest, out)
