"""The forward pass in onnxruntime on the CPU, without torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

# Since 1.29 its own builds report their use to their maker, on Linux too; only the environment stops that in time.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime as ort

from guards.errors import ModelError, ScoringError
from guards.rewards.runtimes.base import FloatArray, TokenBatch

# metadata keys that export.py writes into the graph
HEADS_KEY = "wardgate.heads"
DIGEST_KEY = "wardgate.manifest_digest"


class OnnxRuntime:
    """One session for all callers: `run` is thread-safe and computes on the caller's thread.

    With `threads=1` onnxruntime starts no pool of its own, so two worker threads are two cores.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        self.name = "onnx-cpu"
        if not path.is_file():
            raise ModelError(f"there is no ONNX graph at {path}; run `wardgate models pull`")
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        # a spinning pool steals the core from the event loop and from the other worker
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own exceptions share no public base
            raise ModelError(f"cannot load the ONNX graph {path}; export it again") from error
        metadata = self._session.get_modelmeta().custom_metadata_map
        if HEADS_KEY not in metadata or DIGEST_KEY not in metadata:
            raise ModelError(f"{path} was not exported by wardgate; run `wardgate models pull`")
        self._heads = tuple(metadata[HEADS_KEY].split(","))
        self._inputs = {one.name for one in self._session.get_inputs()}  # no segments in one that does not use them
        self.manifest_digest: str = metadata[DIGEST_KEY]

    @property
    def heads(self) -> Sequence[str]:
        return self._heads

    def forward(self, batch: TokenBatch) -> FloatArray:
        """Raw rewards [batch, heads]."""
        feed = {
            "input_ids": batch.input_ids,
            "attention_mask": batch.attention_mask,
            "segment_ids": batch.segment_ids,
        }
        try:
            (rewards,) = self._session.run(["rewards"], {name: feed[name] for name in self._inputs})
        except Exception as error:  # onnxruntime's own exceptions share no public base
            raise ScoringError("onnxruntime could not run the batch") from error
        return np.asarray(rewards, dtype=np.float32)
