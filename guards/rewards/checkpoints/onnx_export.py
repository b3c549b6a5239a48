"""A checkpoint's network to one ONNX graph, which is kept only if it gives torch's rewards.

Tracing can lose what depends on the input: a mask, a position, a branch. So the graph runs beside torch on random
batches that are shorter, longer and otherwise padded than the traced one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from guards.errors import NotExportable
from guards.rewards.checkpoints.network import Network, first_line
from guards.rewards.export import stamp, trace
from guards.rewards.runtimes.base import FloatArray, TokenBatch
from guards.rewards.runtimes.onnx import OnnxRuntime

TOLERANCE = 1e-4  # of a reward, or of its size where that is over 1
_SIZES = ((1, 1), (1, 7), (2, 16), (3, 40), (4, 130), (1, 300))  # rows, tokens; the traced batch is (2, 16)
_MOST_BYTES = 1_900_000_000  # a graph is one protobuf message, which ends at 2 GiB


def export_checkpoint(network: Network, heads: tuple[str, ...], digest: str, longest: int, out: Path) -> None:
    """Write the graph, whole or not at all. `longest`: tokens of the longest window. Raises NotExportable."""
    size = sum(parameter.numel() * 4 for parameter in network.parameters())
    if size > _MOST_BYTES:
        raise NotExportable(f"{size / 1e9:.1f} GB of weights do not fit in one ONNX graph")
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".partial")
    try:
        _trace(network, partial)
        stamp(partial, heads, digest)
        _compare(network, OnnxRuntime(partial), longest)
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)


def _trace(network: Network, path: Path) -> None:
    try:
        trace(network, path)
    except Exception as error:  # the exporter raises whatever the traced code or itself trips over
        raise NotExportable(
            f"{type(network.model).__name__} cannot be exported to ONNX: {first_line(error)}"
        ) from error


def _compare(network: Network, runtime: OnnxRuntime, longest: int) -> None:
    random = np.random.default_rng(0)
    for rows, tokens in _SIZES:
        batch = _random_batch(random, rows, min(tokens, longest), network.vocabulary)
        expected = _with_torch(network, batch)
        apart = np.abs(runtime.forward(batch) - expected) / np.maximum(1.0, np.abs(expected))
        if not np.isfinite(apart).all() or apart.max() > TOLERANCE:
            raise NotExportable(
                f"the ONNX graph of {type(network.model).__name__} is {apart.max():.2g} off torch's rewards "
                f"(at most {TOLERANCE:g}), for {rows} texts of {tokens} tokens"
            )


def _random_batch(random: np.random.Generator, rows: int, tokens: int, vocabulary: int) -> TokenBatch:
    """The first row is full, the others are padded, each by another length."""
    lengths = np.array([tokens, *random.integers(1, tokens + 1, size=rows - 1)])
    mask = (np.arange(tokens) < lengths[:, None]).astype(np.int64)
    ids = random.integers(0, vocabulary, size=(rows, tokens), dtype=np.int64) * mask
    segments = (np.arange(tokens) >= lengths[:, None] // 2).astype(np.int64) * mask
    return TokenBatch(ids, mask, segments)


def _with_torch(network: Network, batch: TokenBatch) -> FloatArray:
    with torch.inference_mode():
        rewards = network(*map(torch.from_numpy, (batch.input_ids, batch.attention_mask, batch.segment_ids)))
    return np.asarray(rewards.numpy(), dtype=np.float32)
