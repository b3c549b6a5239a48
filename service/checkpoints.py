"""The models of `models:` in the settings: fetched, exported, checked, and from the cache to ready to score."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from guards.errors import ModelError, NotExportable
from guards.rewards.checkpoints.model import (
    Checkpoint,
    CheckpointModel,
    export_graph,
    load_onnx_runtime,
    load_torch_runtime,
    open_checkpoint,
)
from guards.rewards.runtimes.base import Runtime
from guards.types import Stage
from service.config import ModelSettings, Settings
from service.model_sources import HubSource, parse_source
from service.models import ModelCache

log = logging.getLogger(__name__)

_GRAPH = "model.onnx"
_REFUSAL = "not_exportable.txt"  # in its place: why this network is served by torch
_FORMAT = "1"  # raise when the export changes, so that old graphs are not used
_PULL = "run: wardgate models pull"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A configured model whose files are here and whole. `graph` is None when torch serves it; `why` says why."""

    checkpoint: Checkpoint
    graph: Path | None
    why: str


@dataclass(frozen=True, slots=True)
class ConfiguredModel:
    """A line of `wardgate models list`. `fault` is empty when the model is ready."""

    name: str
    source: str
    runtime: str
    digest: str = ""
    fault: str = ""


def pull_model(settings: Settings, model: ModelSettings, progress: bool = True) -> Path:
    """Fetches the checkpoint and exports its graph if it is served by onnx; returns the checkpoint's folder.

    Raises ModelError; with `runtime: auto` a network that has no graph is served by torch instead.
    """
    folder = ModelCache(settings.model_cache).pull(model.source, progress)
    checkpoint = open_checkpoint(model.name, model.reading, folder)
    if _may_use_onnx(model):
        place = _derived(settings, checkpoint, lambda target: _export(model, checkpoint, target))
        _graph_in(place, model)
    return folder


def prepare_model(settings: Settings, model: ModelSettings) -> Prepared:
    """Checks every file, and that the graph is there. Raises ModelError naming the mend."""
    folder = ModelCache(settings.model_cache).path(model.source)
    checkpoint = open_checkpoint(model.name, model.reading, folder)
    if not _may_use_onnx(model):
        return Prepared(checkpoint, None, "the settings say so")
    graph, why = _graph_in(_derived(settings, checkpoint, lambda _: _refuse(model)), model)
    return Prepared(checkpoint, graph, why)


def open_model(settings: Settings, model: ModelSettings) -> CheckpointModel:
    """Ready to score. Raises ModelError naming the mend."""
    prepared = prepare_model(settings, model)
    source = parse_source(model.source)
    version = source.revision if isinstance(source, HubSource) else ""
    return CheckpointModel(prepared.checkpoint, _runtime(prepared, model), version)


def head_stages_of(settings: Settings) -> dict[str, frozenset[Stage]]:
    """The heads of every configured model and the sides they judge, without loading weights."""
    cache = ModelCache(settings.model_cache)
    heads: dict[str, frozenset[Stage]] = {}
    for model in settings.models:
        heads |= open_checkpoint(model.name, model.reading, cache.path(model.source)).head_stages
    return heads


def list_configured(settings: Settings) -> Iterator[ConfiguredModel]:
    """Reads every file."""
    for model in settings.models:
        try:
            prepared = prepare_model(settings, model)
        except ModelError as error:
            yield ConfiguredModel(model.name, model.source, model.runtime, fault=str(error))
            continue
        runtime = "onnx" if prepared.graph else "torch"
        yield ConfiguredModel(model.name, model.source, runtime, prepared.checkpoint.digest)


def _runtime(prepared: Prepared, model: ModelSettings) -> Runtime:
    threads = model.threads or max(1, (os.cpu_count() or 1) // model.workers)
    if prepared.graph:
        return load_onnx_runtime(prepared.checkpoint, prepared.graph, threads)
    if model.runtime == "auto":
        log.info("served by torch", extra={"model": model.name, "why": prepared.why})
    runtime = load_torch_runtime(prepared.checkpoint, model.device, model.dtype)
    if model.threads:
        import torch

        torch.set_num_threads(model.threads)  # one number for the whole process
    return runtime


def _may_use_onnx(model: ModelSettings) -> bool:
    return model.runtime == "onnx" or (model.runtime == "auto" and model.device == "cpu")


def _derived(settings: Settings, checkpoint: Checkpoint, build: Callable[[Path], None]) -> Path:
    key = f"checkpoint-onnx:{checkpoint.digest}:{_FORMAT}"
    return ModelCache(settings.model_cache).derive(f"{checkpoint.name}-onnx", key, build)


def _export(model: ModelSettings, checkpoint: Checkpoint, folder: Path) -> None:
    try:
        export_graph(checkpoint, folder / _GRAPH)
    except NotExportable as refusal:
        if model.runtime == "onnx":
            raise
        (folder / _REFUSAL).write_text(str(refusal))


def _graph_in(folder: Path, model: ModelSettings) -> tuple[Path | None, str]:
    graph = folder / _GRAPH
    if graph.is_file():
        return graph, ""
    why = (folder / _REFUSAL).read_text()
    if model.runtime == "onnx":
        raise ModelError(f"model {model.name}: {why}; set `runtime: torch`")
    return None, why


def _refuse(model: ModelSettings) -> None:
    raise ModelError(f"model {model.name} is not exported for the onnx runtime; {_PULL}")
