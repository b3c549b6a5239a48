"""A classifier checkpoint asked for every label's probability, not for risk: for probes and benches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from guards.base import ScoreInput
from guards.errors import ModelError
from guards.normalize import normalize
from guards.rewards.checkpoints.encoding import CheckpointEncoder
from guards.rewards.checkpoints.files import open_checkpoint_files
from guards.rewards.checkpoints.network import SigmoidRisk, SoftmaxRisk, load_sequence_network
from guards.rewards.checkpoints.spec import CheckpointSpec
from guards.rewards.checkpoints.torch_runtime import CheckpointTorchRuntime
from guards.rewards.encoding import pad
from guards.rewards.scoring_model import batches_by_length
from guards.types import Stage

_BATCH_TOKENS = 1024


class LabelProbabilities:
    """The weights that `open_classifier` reads as risk, on torch; imports it. A text of several windows has the mean of
    theirs."""

    def __init__(self, spec: CheckpointSpec, folder: Path, device: str = "cpu", dtype: str = "") -> None:
        """Raises ModelError naming the file or setting and the mend."""
        if spec.kind != "classifier":
            raise ModelError(f"{folder} is no classifier but a {spec.kind} model; it has no labels")
        files = open_checkpoint_files(folder)
        self.labels = spec.labels or files.labels
        if len(self.labels) != len(files.labels):
            raise ModelError(f"`labels` names {len(self.labels)} outputs, but {folder} has {len(files.labels)}")
        each = [(index,) for index in range(len(self.labels))]
        readout = (SoftmaxRisk if spec.activation == "softmax" else SigmoidRisk)(each, len(each))
        self._spec = spec
        self._encoder = CheckpointEncoder(spec, files)
        network = load_sequence_network(folder, readout, None)
        self._runtime = CheckpointTorchRuntime(network, self.labels, device, dtype)

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """[n, labels]. With softmax rows add up to 1."""
        encoded = [self._encoder.encode(self._input(text), self._spec.max_windows) for text in texts]
        flat = [sequence for one in encoded for sequence in one.sequences]
        logits = np.empty((len(flat), len(self.labels)), dtype=np.float64)
        for rows in batches_by_length(flat, _BATCH_TOKENS):
            logits[rows] = -self._runtime.forward(pad([flat[row] for row in rows]))
        probable = 1.0 / (1.0 + np.exp(-np.clip(logits, -60.0, 60.0)))
        found = np.empty((len(texts), len(self.labels)), dtype=np.float32)
        start = 0
        for row, one in enumerate(encoded):
            found[row] = probable[start : start + len(one.sequences)].mean(axis=0)
            start += len(one.sequences)
        return found

    def _input(self, text: str) -> ScoreInput:
        """On the side that the checkpoint judges; a response stands without a prompt."""
        if Stage.REQUEST in self._spec.stages:
            return ScoreInput(normalize(text))
        return ScoreInput(normalize(""), normalize(text))
