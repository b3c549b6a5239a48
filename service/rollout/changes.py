"""What an operator does: see the versions, give one a role, roll back. One change at a time, whole or not at all."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from guards.errors import PreconditionFailed, WardgateError
from service.exchange import ModelRole
from service.policies import PolicyStore
from service.rollout.catalogue import Artefact, Catalogue, Damaged
from service.rollout.checks import check_version
from service.rollout.metrics import RoleInfo, RolloutMetrics
from service.rollout.rollout import Rollout
from service.rollout.state import RolloutState

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class VersionView:
    """`role` None: out of use. `weight`: the share of requests that it decides, [0, 1]."""

    artefact: Artefact
    role: ModelRole | None
    weight: float
    loaded: bool


@dataclass(frozen=True, slots=True)
class RolloutView:
    """`history`: digests of the active versions before, the latest last."""

    versions: tuple[VersionView, ...]
    damaged: tuple[Damaged, ...]
    history: tuple[str, ...]


class RolloutChanges:
    def __init__(self, rollout: Rollout, policies: PolicyStore, metrics: RolloutMetrics) -> None:
        self._rollout = rollout
        self._policies = policies
        self._metrics = metrics
        self._one_changes = asyncio.Lock()
        self._tell()

    async def list(self) -> RolloutView:
        catalogue = (await self._catalogue()).joined(self._in_memory())
        versions = tuple(self._view(artefact) for artefact in catalogue.artefacts.values())
        return RolloutView(versions, catalogue.damaged, self._rollout.standing.state.history)

    async def get(self, name: str) -> VersionView:
        """By version or digest. Raises UnknownName."""
        return self._view((await self._catalogue()).joined(self._in_memory()).find(name))

    async def set(self, name: str, role: ModelRole | None, percent: float) -> VersionView:
        """Gives a version a role, or takes it away; `percent` is a canary's share of the requests."""
        async with self._changing():
            catalogue = await self._catalogue()
            if role is None:  # what has lost its folder can still be taken out of use
                artefact = catalogue.joined(self._in_memory()).find(name)
                await self._change(self._rollout.standing.state.without(artefact.digest))
            else:
                artefact = catalogue.find(name)
                await self._change_to(artefact, _with(self._rollout.standing.state, artefact.digest, role, percent))
            return self._view(artefact)

    async def roll_back(self) -> VersionView:
        """Makes the version active that was before the active one."""
        async with self._changing():
            state = self._rollout.standing.state.rolled_back()
            artefact = (await self._catalogue()).artefacts.get(state.active)
            if artefact is None:
                fault = (
                    f"the version active before, {state.active[:12]}, is gone; put it back or set another one active"
                )
                raise PreconditionFailed(fault, kind="ROLLOUT", subject=state.active)
            await self._change_to(artefact, state)
            return self._view(artefact)

    async def _change_to(self, artefact: Artefact, state: RolloutState) -> None:
        """Only once the version is in memory, proven and fit for the policies in force."""
        check_version(artefact, self._policies.in_force, self._rollout.other_heads)
        async with self._rollout.load(artefact):
            await self._change(state)

    async def _change(self, state: RolloutState) -> None:
        """To its end, also when the caller leaves: the disk and the memory must have the same answer."""
        change = asyncio.create_task(self._rollout.change(state))
        try:
            await asyncio.shield(change)
        except asyncio.CancelledError:
            await asyncio.wait([change])
            raise
        finally:
            self._tell()

    def _tell(self) -> None:
        standing = self._rollout.standing
        self._policies.take_heads(self._rollout.heads)
        self._metrics.stand(
            [
                RoleInfo(role, model.artefact.version, model.digest, standing.state.weight(model.digest))
                for model in standing.models
                if (role := standing.state.role(model.digest))
            ]
        )

    async def _catalogue(self) -> Catalogue:
        return await asyncio.to_thread(self._rollout.read_catalogue)

    def _in_memory(self) -> list[Artefact]:
        return [model.artefact for model in self._rollout.standing.models]

    def _view(self, artefact: Artefact) -> VersionView:
        state = self._rollout.standing.state
        loaded = artefact.digest in self._rollout.loaded
        return VersionView(artefact, state.role(artefact.digest), state.weight(artefact.digest), loaded)

    @asynccontextmanager
    async def _changing(self) -> AsyncIterator[None]:
        """One change at a time, counted."""
        result = "failed"
        try:
            if self._rollout.directory is None:
                fault = "set rollout.directory in the server's config to roll out reward models"
                raise PreconditionFailed(fault, kind="ROLLOUT", subject="rollout.directory")
            async with self._one_changes:
                yield
            result = "ok"
            log.info("rollout changed", extra=self._rollout.standing.state.model_dump(exclude={"format", "history"}))
        except WardgateError:
            result = "refused"
            raise
        finally:
            self._metrics.changes.labels(result).inc()


def _with(state: RolloutState, digest: str, role: ModelRole, percent: float) -> RolloutState:
    match role:
        case ModelRole.ACTIVE:
            return state.with_active(digest)
        case ModelRole.CANARY:
            return state.with_canary(digest, percent)
        case ModelRole.SHADOW:
            return state.with_shadow(digest)
