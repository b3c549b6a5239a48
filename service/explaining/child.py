"""The process that explains: one piece of work after the other, behind everything else.

Gradients need torch, which the serving process never loads; a runaway explanation ends with its process.
"""

from __future__ import annotations

import os
import signal
from collections import OrderedDict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from guards.errors import InvalidInput, ModelError, UnknownName
from guards.readings.find import judged_input
from guards.rewards.encoding import TextEncoder
from guards.rewards.manifest import load_manifest
from service.explaining.work import (
    MOST_ATTENTION_TOKENS,
    Answer,
    ChildSettings,
    Failed,
    GenerationWork,
    HeadExplained,
    HeadWork,
    Ready,
    Result,
    Work,
)
from service.logs import fault_fields
from service.models import ModelCache
from service.parent_death import die_with_the_parent

if TYPE_CHECKING:
    from guards.explainers.explain import RewardExplainer
    from service.explaining.generator import Generator


def main(pipe: Connection, settings: ChildSettings) -> None:
    """Answers until the pipe is closed, which is how the parent's end is noticed, however it came about."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the parent ends us in its order
    die_with_the_parent()  # a stopped process notices no pipe that closes
    os.nice(settings.niceness)
    os.environ["OMP_NUM_THREADS"] = str(settings.threads)
    import torch

    torch.set_num_threads(settings.threads)
    opened = Opened(settings)
    pipe.send(Ready())
    while True:
        try:
            work: Work = pipe.recv()
        except (EOFError, OSError):
            return
        pipe.send(_answer(opened, work))


class Opened:
    """Models, opened when they are first needed."""

    def __init__(self, settings: ChildSettings) -> None:
        self._settings = settings
        self._explainers: OrderedDict[str, RewardExplainer] = OrderedDict()  # by digest, the last used one last
        self._generator: Generator | None = None

    def explain(self, work: Work) -> Result:
        return self._generation(work) if isinstance(work, GenerationWork) else self._head(work)

    def _head(self, work: HeadWork) -> HeadExplained:
        explainer = self._explainer(work.folder, work.digest)
        item = judged_input(work.prompt, work.response)
        attention = None
        if work.attention is not None:
            chosen = work.attention
            attention = explainer.attention(item, work.head, chosen.layer, chosen.attention_head, MOST_ATTENTION_TOKENS)
        return HeadExplained(explainer.explain(item, work.head, work.method, work.budget_s), attention)

    def _explainer(self, folder: Path, digest: str) -> RewardExplainer:
        if digest not in self._explainers:
            while len(self._explainers) >= self._settings.open_models:
                self._explainers.popitem(last=False)
            self._explainers[digest] = open_explainer(self._settings, folder, digest)
        self._explainers.move_to_end(digest)
        return self._explainers[digest]

    def _generation(self, work: GenerationWork) -> Result:
        if self._generator is None:
            from service.explaining.generator import Generator

            if self._settings.generator is None:
                raise ModelError("no wrapped model runs in this process; its tokens cannot be explained")
            self._generator = Generator.load(self._settings.model_cache, self._settings.generator)
        return self._generator.explain(work)


def open_explainer(settings: ChildSettings, folder: Path, digest: str = "") -> RewardExplainer:
    """Of the artefact in `folder`; needs torch. Raises ModelError when it is damaged, or not the one of `digest`."""
    from guards.explainers.explain import RewardExplainer
    from guards.rewards.torch_model import load_network

    encoder = ModelCache(settings.model_cache).path(settings.encoder)
    manifest, found = load_manifest(folder)
    if digest and found != digest:
        raise ModelError(f"{folder} no longer holds reward model {digest[:12]}, which serves; put it back")
    network = load_network(manifest, folder, encoder)
    return RewardExplainer(
        network, TextEncoder.from_file(encoder / "tokenizer.json", manifest.window), settings.max_windows
    )


def _answer(opened: Opened, work: Work) -> Answer:
    try:
        return opened.explain(work)
    except InvalidInput as error:
        return Failed("invalid", str(error), error.violations)
    except UnknownName as error:
        return Failed("unknown", str(error), name=(error.kind, error.name), known=error.known)
    except ModelError as error:
        return Failed("model", str(error))
    except Exception as error:  # one piece of work may fail, the loop may not
        return Failed("internal", type(error).__name__, log=tuple(fault_fields(error).items()))
