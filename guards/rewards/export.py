"""Reward model to one ONNX graph: encoder, pooling and heads together.

The legacy exporter (`dynamo=False`) is used on purpose: onnxruntime optimizes its graphs on load to
92% of this CPU's peak. Fusing attention offline as well (`onnxruntime.transformers`) was no faster.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
from torch import nn

from guards.rewards.manifest import load_manifest
from guards.rewards.runtimes.onnx import DIGEST_KEY, HEADS_KEY
from guards.rewards.torch_model import load_network

OPSET = 17
INPUTS = ("input_ids", "attention_mask", "segment_ids")


def export_onnx(artefact_dir: Path, encoder_dir: Path, out: Path) -> None:
    """Write the graph to `out`, whole or not at all; the same inputs give the same bytes."""
    manifest, digest = load_manifest(artefact_dir)
    network = load_network(manifest, artefact_dir, encoder_dir, attention="eager")
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".partial")
    try:
        trace(network, partial)
        stamp(partial, manifest.columns, digest)
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)


def trace(network: nn.Module, path: Path) -> None:
    """Token batch -> rewards, for any number of texts and tokens."""
    tokens = 16
    ids = torch.ones((2, tokens), dtype=torch.long)
    mask = torch.ones_like(ids)
    mask[1, tokens // 2 :] = 0
    segments = torch.zeros_like(ids)
    segments[:, 4:] = 1
    axes = {name: {0: "batch", 1: "tokens"} for name in INPUTS} | {"rewards": {0: "batch"}}
    with warnings.catch_warnings(), torch.inference_mode():
        # the exporter announces its own age and every Python number it traced
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (ids, mask, segments),
            str(path),
            input_names=list(INPUTS),
            output_names=["rewards"],
            dynamic_axes=axes,
            opset_version=OPSET,
            do_constant_folding=True,
            dynamo=False,
        )


def stamp(path: Path, columns: Sequence[str], digest: str) -> None:
    """Say inside the graph which columns it gives, and by digest which model it came from."""
    graph = onnx.load(str(path))
    onnx.helper.set_model_props(graph, {HEADS_KEY: ",".join(columns), DIGEST_KEY: digest})
    onnx.checker.check_model(graph)
    onnx.save(graph, str(path))
