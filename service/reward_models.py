"""The configured reward model: from the cache to ready to score."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from guards.errors import ModelError
from guards.rewards.manifest import Manifest, load_manifest
from guards.rewards.reward_model import EMBEDDED_DIR, RewardModel, load_reward_model
from guards.rewards.runtimes.base import Runtime
from guards.types import Stage
from service.config import Settings
from service.models import ModelCache

_GRAPH = "model.onnx"
_GRAPH_FORMAT = "1"  # raise when the export changes, so that old graphs are not used


def open_reward_model(settings: Settings) -> RewardModel:
    """Raises ModelError, naming the mend, when the encoder or its exported graph is missing or damaged."""
    scoring = settings.scoring
    artefact = scoring.artefact or EMBEDDED_DIR
    encoder = ModelCache(settings.model_cache).path(scoring.encoder)
    graph = _graph(settings, artefact, encoder, _refuse) if scoring.runtime == "onnx" else None
    return load_reward_model(
        artefact,
        encoder,
        runtime=scoring.runtime,
        onnx_path=graph,
        device=scoring.device,
        max_windows=scoring.max_windows,
    )


def open_lone_runtime(settings: Settings) -> Runtime | None:
    """A second session over more cores, for a text that has the machine to itself; None when it would gain nothing.

    It holds the weights once more. Call after `open_reward_model`, which checks the graph.
    """
    scoring = settings.scoring
    threads = min(scoring.lone_threads, scoring.workers)
    if scoring.runtime != "onnx" or threads < 2:
        return None
    from guards.rewards.runtimes.onnx import OnnxRuntime

    artefact = scoring.artefact or EMBEDDED_DIR
    encoder = ModelCache(settings.model_cache).path(scoring.encoder)
    return OnnxRuntime(_graph(settings, artefact, encoder, _refuse), threads=threads)


def export_reward_model(settings: Settings) -> Path:
    """Writes the ONNX graph of the configured heads into the cache, unless it is there. Needs torch."""
    from guards.rewards.export import export_onnx  # heavy: brings torch

    artefact = settings.scoring.artefact or EMBEDDED_DIR
    encoder = ModelCache(settings.model_cache).path(settings.scoring.encoder)
    return _graph(settings, artefact, encoder, lambda folder: export_onnx(artefact, encoder, folder / _GRAPH))


def head_stages(manifest: Manifest) -> dict[str, frozenset[Stage]]:
    """Which sides each head judges."""
    sides = {"prompt": Stage.REQUEST, "exchange": Stage.RESPONSE}
    return {head.name: frozenset((sides[head.input],)) for head in manifest.heads}


def _graph(settings: Settings, artefact: Path, encoder: Path, build: Callable[[Path], object]) -> Path:
    _, digest = load_manifest(artefact)  # names the encoder's bytes too
    key = f"onnx:{digest}:{_GRAPH_FORMAT}"

    def into(folder: Path) -> None:
        build(folder)

    return ModelCache(settings.model_cache).derive("reward-onnx", key, into) / _GRAPH


def _refuse(_: Path) -> None:
    raise ModelError("the reward model is not exported for the onnx runtime; run: wardgate models pull")
