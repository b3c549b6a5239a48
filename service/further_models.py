"""The models beside the reward model, at work: each with a line, threads and a scorer of its own."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from guards.errors import ConfigError, ModelError, WardgateError
from guards.rewards.checkpoints.model import CheckpointModel
from guards.types import Stage
from service.batch_choice import BatchLimits
from service.batcher import Batcher, BatchReport
from service.checkpoints import open_model
from service.config import ModelSettings, Settings
from service.scoring import BatchedScorer

log = logging.getLogger(__name__)


class FurtherModels:
    """`scorers` by name, `head_stages` by head. One that is slow or fails touches only the guards that use it."""

    def __init__(self, settings: Settings, on_batch: Callable[[str, BatchReport], None]) -> None:
        """Raises ModelError or ConfigError before anything serves."""
        opened = [(model, open_model(settings, model)) for model in settings.models]
        self.head_stages = _head_stages(opened)
        self._batchers = {
            model.name: Batcher(loaded.runtime, _limits(settings, model), partial(on_batch, model.name))
            for model, loaded in opened
        }
        self.scorers: Mapping[str, BatchedScorer] = {
            model.name: BatchedScorer(loaded, self._batchers[model.name]) for model, loaded in opened
        }

    @property
    def healthy(self) -> bool:
        """Whether every one can score; so it is without any."""
        return all(batcher.healthy for batcher in self._batchers.values())

    @property
    def depth(self) -> int:
        """Sequences in all lines."""
        return sum(batcher.depth for batcher in self._batchers.values())

    def check_heads(self, primary: Mapping[str, frozenset[Stage]]) -> None:
        """Raises ConfigError when one takes a head of the reward model."""
        joined_heads(primary, self.head_stages)

    async def warm_up(self) -> None:
        """One after the other. Raises ModelError naming the one that fails."""
        for name, scorer in self.scorers.items():
            started = time.monotonic()
            try:
                await scorer.warm_up()
            except WardgateError as error:
                raise ModelError(f"model {name} cannot score ({error}); check its settings, or take it out") from error
            log.info("further model ready", extra={"model": name, "seconds": round(time.monotonic() - started, 2)})

    async def close(self, grace_s: float) -> None:
        await asyncio.gather(*(batcher.close(grace_s) for batcher in self._batchers.values()))


def _head_stages(opened: Sequence[tuple[ModelSettings, CheckpointModel]]) -> dict[str, frozenset[Stage]]:
    stages: dict[str, frozenset[Stage]] = {}
    for model, loaded in opened:
        twice = stages.keys() & set(loaded.heads)
        if twice:
            raise ConfigError(f"two of `models` have the head '{min(twice)}'; rename model '{model.name}'")
        stages |= dict.fromkeys(loaded.heads, model.reading.stages)
    return stages


def joined_heads(
    primary: Mapping[str, frozenset[Stage]], further: Mapping[str, frozenset[Stage]]
) -> Mapping[str, frozenset[Stage]]:
    """What policies may name. Raises ConfigError when a further model takes a head of the reward model."""
    twice = primary.keys() & further.keys()
    if twice:
        raise ConfigError(f"'{min(twice)}' is a head of the reward model; rename the model of `models`")
    return {**primary, **further}


def _limits(settings: Settings, model: ModelSettings) -> BatchLimits:
    scoring = settings.scoring
    return BatchLimits(
        max_tokens=model.max_batch_tokens,
        max_items=scoring.max_batch_items,
        max_padding=scoring.max_padding,
        patience=scoring.patience,
        max_queue_items=scoring.max_queue_items,
        workers=model.workers,
    )
