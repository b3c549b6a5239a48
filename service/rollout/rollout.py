"""The versions in memory, and the one reference that says which of them does what.

A request takes its version when it begins and keeps it to its end; a change swaps the reference between two requests.
A version that has lost its role is closed when its last request has left it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guards.base import Scorer
from guards.errors import ConfigError, DeadlineExceeded, ModelError, PreconditionFailed, ScoringError, Unavailable
from guards.types import Stage
from service.batcher import Batcher
from service.exchange import CheckCall, GenerateCall, ModelRole
from service.lineup import Lineup
from service.rollout.catalogue import Artefact, Catalogue, common_heads, read_catalogue
from service.rollout.loaded import LoadedModel, ModelOpener, give_memory_back
from service.rollout.share import in_share
from service.rollout.state import STATE_FILE, RolloutState, read_state, write_state

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Standing:
    """Which version does what, from one change to the next."""

    state: RolloutState
    active: LoadedModel
    canary: LoadedModel | None
    shadows: tuple[LoadedModel, ...]

    @classmethod
    def of(cls, state: RolloutState, models: Mapping[str, LoadedModel]) -> Standing:
        canary = models[state.canary.digest] if state.canary else None
        return cls(state, models[state.active], canary, tuple(models[digest] for digest in state.shadows))

    @property
    def deciding(self) -> tuple[LoadedModel, ...]:
        return (self.active, self.canary) if self.canary else (self.active,)

    @property
    def models(self) -> tuple[LoadedModel, ...]:
        return (*self.deciding, *self.shadows)

    def chosen(self, call: CheckCall | GenerateCall) -> tuple[LoadedModel, ModelRole]:
        if self.canary and self.state.canary and in_share(call, self.state.canary.percent):
            return self.canary, ModelRole.CANARY
        return self.active, ModelRole.ACTIVE

    @property
    def heads(self) -> Mapping[str, frozenset[Stage]]:
        """What every deciding version has."""
        return common_heads([model.artefact for model in self.deciding])


class Rollout:
    """Implements service.lineup.Lineups. Lives on one event loop.

    `others` are further models of every lineup, and `other_heads` theirs.
    """

    def __init__(
        self,
        directory: Path | None,
        configured: Path,
        opener: ModelOpener,
        others: Mapping[str, Scorer] | None = None,
        other_heads: Mapping[str, frozenset[Stage]] | None = None,
    ) -> None:
        """Opens what the folder's state names. Raises ConfigError or ModelError; never another model instead."""
        self.directory = directory
        self._configured = configured
        self._opener = opener
        self._others = others or {}
        self.other_heads = other_heads or {}
        self._one_opens = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()  # that open and close versions
        state, artefacts = kept(directory, configured)
        self._loaded = {artefact.digest: opener.open(artefact, export=True) for artefact in artefacts}
        self._stand(state)

    @property
    def standing(self) -> Standing:
        return self._standing

    @property
    def heads(self) -> Mapping[str, frozenset[Stage]]:
        """What policies may name: what every deciding version has, and other models."""
        return {**self.other_heads, **self._standing.heads}

    @property
    def healthy(self) -> bool:
        """Whether every deciding version can score and is proven to."""
        return all(model.batcher.healthy and not model.blind for model in self._standing.deciding)

    @property
    def depth(self) -> int:
        """Windows that wait for a forward, over all versions."""
        return sum(model.batcher.depth for model in self._loaded.values())

    @property
    def loaded(self) -> frozenset[str]:
        """Digests of the versions in memory."""
        return frozenset(self._loaded)

    def folder_of(self, digest: str) -> Path | None:
        """Of a version in memory; None when it is there no more."""
        model = self._loaded.get(digest)
        return model.artefact.folder if model else None

    def read_catalogue(self) -> Catalogue:
        """Blocks: reads every version's files."""
        return read_catalogue(self.directory, self._configured)

    async def prove(self) -> None:
        """Warms every version up and finds out which are blind."""
        for model in self._standing.models:
            await model.prove()

    @asynccontextmanager
    async def choose(self, call: CheckCall | GenerateCall) -> AsyncIterator[Lineup]:
        """Raises Unavailable when the version chosen is blind: it would pass everything."""
        model, role = self._standing.chosen(call)
        if model.blind:
            raise Unavailable("the reward model does not tell a known-safe from a known-unsafe text")
        model.uses += 1
        try:
            yield Lineup(model.scorer, role, self._others)
        finally:
            self._leave(model)

    @asynccontextmanager
    async def shadows(self) -> AsyncIterator[tuple[LoadedModel, ...]]:
        """Those of now; they stay in memory until the context ends."""
        models = self._standing.shadows
        for model in models:
            model.uses += 1
        try:
            yield models
        finally:
            for model in models:
                self._leave(model)

    @asynccontextmanager
    async def load(self, artefact: Artefact) -> AsyncIterator[None]:
        """The version is in memory and proven; it stays if it has a role when the context ends.

        Raises PreconditionFailed when it cannot serve.
        """
        opening = asyncio.create_task(self._open(artefact))
        self._keep(opening)
        try:
            model = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(self._opened_for_nobody)
            raise
        except ModelError as error:
            raise _refusal(str(error), artefact) from error
        try:
            model.batcher.yields = False  # so that a rollback is quick under load too; it is a dozen forwards
            await _require_proof(model)
            yield
        finally:
            self._let_shadows_yield()
            self._leave(model)

    async def _open(self, artefact: Artefact) -> LoadedModel:
        """With one use, which is the caller's to end."""
        async with self._one_opens:
            model = self._loaded.get(artefact.digest)
            if model is None:
                model = await asyncio.to_thread(self._opener.open, artefact, True)
            model.uses += 1
            self._loaded[artefact.digest] = model
        return model

    def _opened_for_nobody(self, opening: asyncio.Task[LoadedModel]) -> None:
        if not opening.cancelled() and not opening.exception():
            self._leave(opening.result())

    async def change(self, state: RolloutState) -> None:
        """Makes it so, on the disk first. Every version that `state` names is in memory."""
        if self.directory is None:
            raise PreconditionFailed("set rollout.directory to roll out versions", kind="ROLLOUT", subject="directory")
        await asyncio.to_thread(write_state, self.directory, state)
        self._stand(state)
        self._close_unused()

    async def close(self, grace_s: float) -> None:
        """Ends every version; what is in the line is finished within `grace_s`."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_s)
        await asyncio.gather(*(model.batcher.close(grace_s) for model in tuple(self._loaded.values())))

    def _stand(self, state: RolloutState) -> None:
        self._standing = Standing.of(state, self._loaded)
        self._let_shadows_yield()

    def _let_shadows_yield(self) -> None:
        for model in self._loaded.values():
            model.batcher.yields = model in self._standing.shadows

    def _leave(self, model: LoadedModel) -> None:
        model.uses -= 1
        if not model.uses:
            self._close_unused()

    def _close_unused(self) -> None:
        for digest, model in tuple(self._loaded.items()):
            if not model.uses and model not in self._standing.models:
                del self._loaded[digest]
                log.info("reward model closed", extra={"version": model.artefact.version, "digest": digest})
                self._keep(asyncio.create_task(_close(model.batcher)))

    def _keep(self, task: asyncio.Task[Any]) -> None:
        """So that it is waited for at the end, and not collected before."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _close(batcher: Batcher) -> None:
    await batcher.close(0)
    del batcher  # the last that holds the weights
    await asyncio.to_thread(give_memory_back)


async def _require_proof(model: LoadedModel) -> None:
    try:
        proven = await model.prove()
    except (ScoringError, DeadlineExceeded, Unavailable) as error:
        raise _refusal(f"it could not score the known texts: {error}", model.artefact) from error
    if not proven:
        raise _refusal("it does not tell a known-safe from a known-unsafe text", model.artefact)


def kept(directory: Path | None, configured: Path) -> tuple[RolloutState, list[Artefact]]:
    """What the folder says, at first that the configured model is active; and what it names, the active one first.

    Raises ConfigError or ModelError when anything that it names is not there, whole.
    """
    catalogue = read_catalogue(directory, configured)
    state = (directory and read_state(directory)) or RolloutState(format=1, active=next(iter(catalogue.artefacts)))
    return state, [_restored(catalogue, digest) for digest in state.in_use]


def kept_heads(directory: Path | None, configured: Path) -> Mapping[str, frozenset[Stage]]:
    """What policies may name once a server starts from this folder."""
    state, artefacts = kept(directory, configured)
    return common_heads([one for one in artefacts if state.role(one.digest) is not ModelRole.SHADOW])


def _restored(catalogue: Catalogue, digest: str) -> Artefact:
    if digest in catalogue.artefacts:
        return catalogue.artefacts[digest]
    faults = "".join(f"; {damaged.fault}" for damaged in catalogue.damaged)
    raise ConfigError(
        f"{STATE_FILE} in rollout.directory names reward model {digest}, which is not there{faults};"
        f" put it back, or delete {STATE_FILE} to start from the configured model"
    )


def _refusal(fault: str, artefact: Artefact) -> PreconditionFailed:
    message = f"reward model {artefact.version} ({artefact.digest[:12]}) cannot serve: {fault}"
    return PreconditionFailed(message, kind="REWARD_MODEL", subject=artefact.digest)
