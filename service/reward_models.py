"""Reward models: from an artefact and the cache to ready to score."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from pathlib import Path

from guards.errors import ModelError
from guards.rewards.manifest import Manifest, load_manifest
from guards.rewards.reward_model import EMBEDDED_DIR, RewardModel, load_reward_model
from guards.rewards.runtimes.base import Runtime
from guards.types import Stage
from service.config import Settings
from service.model_sources import PULL_ELSEWHERE
from service.models import ModelCache

_GRAPH = "model.onnx"
_GRAPH_FORMAT = "1"  # raise when the export changes, so that old graphs are not used
_EXPORT_S = 240.0


class NotExported(ModelError):
    """The artefact is sound, but its graph is not in the cache."""


def configured_artefact(settings: Settings) -> Path:
    """The folder of the heads that serve when nothing else was rolled out."""
    return settings.scoring.artefact or EMBEDDED_DIR


def open_reward_model(settings: Settings, artefact: Path | None = None) -> RewardModel:
    """The configured model, or another artefact on the same encoder.

    Raises ModelError, naming the mend, when the encoder or the exported graph is missing or damaged.
    """
    scoring = settings.scoring
    artefact = artefact or configured_artefact(settings)
    encoder = ModelCache(settings.model_cache).path(scoring.encoder)
    graph = _graph(settings.model_cache, artefact, _refuse) if scoring.runtime == "onnx" else None
    return load_reward_model(
        artefact,
        encoder,
        runtime=scoring.runtime,
        onnx_path=graph,
        device=scoring.device,
        max_windows=scoring.max_windows,
    )


def open_lone_runtime(settings: Settings, artefact: Path | None = None) -> Runtime | None:
    """A second session over more cores, for a text that has the machine to itself; None when it would gain nothing.

    It holds the weights once more. Call after `open_reward_model`, which checks the graph.
    """
    scoring = settings.scoring
    threads = min(scoring.lone_threads, scoring.workers)
    if scoring.runtime != "onnx" or threads < 2:
        return None
    from guards.rewards.runtimes.onnx import OnnxRuntime

    graph = _graph(settings.model_cache, artefact or configured_artefact(settings), _refuse)
    return OnnxRuntime(graph, threads=threads)


def export_reward_model(settings: Settings, artefact: Path | None = None) -> Path:
    """Writes the ONNX graph of the configured heads, or of others, into the cache, unless it is there. Needs torch."""
    encoder = ModelCache(settings.model_cache).path(settings.scoring.encoder)
    return _export(settings.model_cache, artefact or configured_artefact(settings), encoder)


def export_beside(settings: Settings, artefact: Path) -> None:
    """The same in a process of its own, so that torch never enters this one. Blocks; raises ModelError."""
    if not _can_export():
        raise _not_exported()
    encoder = ModelCache(settings.model_cache).path(settings.scoring.encoder)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        export = process.submit(_export, settings.model_cache, artefact, encoder)
        try:
            export.result(_EXPORT_S)
        except ModelError:
            raise
        except Exception as error:  # what torch and onnx raise, or the end of the process
            raise ModelError(f"{artefact} could not be exported: {type(error).__name__}") from error


def head_stages(manifest: Manifest) -> dict[str, frozenset[Stage]]:
    """Which sides each head judges."""
    sides = {"prompt": Stage.REQUEST, "exchange": Stage.RESPONSE}
    return {head.name: frozenset((sides[head.input],)) for head in manifest.heads}


def _export(model_cache: Path, artefact: Path, encoder: Path) -> Path:
    def build(folder: Path) -> None:
        if not _can_export():
            raise NotExported(f"exporting the reward model needs torch and onnx; {PULL_ELSEWHERE}")
        from guards.rewards.export import export_onnx  # heavy: brings torch

        export_onnx(artefact, encoder, folder / _GRAPH)

    return _graph(model_cache, artefact, build)


def _can_export() -> bool:
    return find_spec("torch") is not None and find_spec("onnx") is not None


def _graph(model_cache: Path, artefact: Path, build: Callable[[Path], object]) -> Path:
    _, digest = load_manifest(artefact)  # names the encoder's bytes too
    key = f"onnx:{digest}:{_GRAPH_FORMAT}"

    def into(folder: Path) -> None:
        build(folder)

    return ModelCache(model_cache).derive("reward-onnx", key, into) / _GRAPH


def _refuse(_: Path) -> None:
    raise _not_exported()


def _not_exported() -> NotExported:
    return NotExported("the reward model is not exported for the onnx runtime; run: wardgate models pull")
