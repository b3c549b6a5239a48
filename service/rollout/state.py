"""What the operator decided, in one small file that survives a restart: who is active, canary and shadow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from guards.errors import ConfigError, PreconditionFailed
from guards.policy import describe
from service.exchange import ModelRole
from service.rollout.share import RESOLUTION

STATE_FILE = "rollout.json"
MAX_SHADOWS = 4  # each is scored beside the traffic and held in memory
_MAX_HISTORY = 32

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Canary(_Part):
    digest: Digest
    percent: Annotated[float, Field(ge=RESOLUTION, le=100)]


class RolloutState(_Part):
    """Versions by digest. `history` are the active ones before, the latest last."""

    format: Literal[1]
    active: Digest
    canary: Canary | None = None
    shadows: Annotated[tuple[Digest, ...], Field(max_length=MAX_SHADOWS)] = ()
    history: Annotated[tuple[Digest, ...], Field(max_length=_MAX_HISTORY)] = ()

    @model_validator(mode="after")
    def _one_role_each(self) -> RolloutState:
        if len(set(self.in_use)) != len(self.in_use):
            raise ValueError("a version has two roles")
        return self

    @property
    def in_use(self) -> tuple[str, ...]:
        return (self.active, *([self.canary.digest] if self.canary else []), *self.shadows)

    def role(self, digest: str) -> ModelRole | None:
        if digest == self.active:
            return ModelRole.ACTIVE
        if self.canary and digest == self.canary.digest:
            return ModelRole.CANARY
        return ModelRole.SHADOW if digest in self.shadows else None

    def weight(self, digest: str) -> float:
        """The share of requests that this version decides, [0, 1]."""
        canary = self.canary.percent / 100 if self.canary else 0.0
        return {ModelRole.ACTIVE: 1 - canary, ModelRole.CANARY: canary}.get(self.role(digest) or ModelRole.SHADOW, 0.0)

    def with_active(self, digest: str) -> RolloutState:
        """The one before goes into the history."""
        if digest == self.active:
            return self
        history = (*self.history, self.active)[-_MAX_HISTORY:]
        return self._free(digest)._but(active=digest, history=history)

    def with_canary(self, digest: str, percent: float) -> RolloutState:
        """Takes the place of another canary."""
        self._not_active(digest)
        return self._free(digest)._but(canary=Canary(digest=digest, percent=percent))

    def with_shadow(self, digest: str) -> RolloutState:
        self._not_active(digest)
        if digest in self.shadows:
            return self
        if len(self.shadows) == MAX_SHADOWS:
            raise _refusal(f"there are {MAX_SHADOWS} shadows already; take one away first", digest)
        return self._free(digest)._but(shadows=(*self.shadows, digest))

    def without(self, digest: str) -> RolloutState:
        self._not_active(digest)
        return self._free(digest)

    def rolled_back(self) -> RolloutState:
        """The active version before this one is active again."""
        if not self.history:
            raise _refusal("no version was active before this one; set one active by name", self.active)
        before = self.history[-1]
        return self._free(before)._but(active=before, history=self.history[:-1])

    def _not_active(self, digest: str) -> None:
        if digest == self.active:
            raise _refusal("that version is the active one; make another one active, or roll back", digest)

    def _free(self, digest: str) -> RolloutState:
        """Without a role beside ACTIVE for that version."""
        canary = None if self.canary and self.canary.digest == digest else self.canary
        return self._but(canary=canary, shadows=tuple(shadow for shadow in self.shadows if shadow != digest))

    def _but(self, **changes: object) -> RolloutState:
        return RolloutState.model_construct(**{**dict(self), **changes})


def _refusal(fault: str, digest: str) -> PreconditionFailed:
    return PreconditionFailed(fault, kind="ROLLOUT", subject=digest)


def read_state(directory: Path) -> RolloutState | None:
    """None when nothing was ever rolled out here. Raises ConfigError when the file is not what we wrote."""
    file = directory / STATE_FILE
    try:
        raw = file.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    try:
        return RolloutState.model_validate_json(raw)
    except ValidationError as error:
        mend = "put back the file as it was, or delete it to start from the configured model"
        raise ConfigError(f"{file}: {describe(error)}; {mend}") from error


def write_state(directory: Path, state: RolloutState) -> None:
    """Whole or not at all, and on the disk when this returns. Raises PreconditionFailed when the folder takes none."""
    file = directory / STATE_FILE
    partial = directory / f".{STATE_FILE}.partial"
    try:
        with partial.open("w") as out:
            out.write(state.model_dump_json(indent=1) + "\n")
            out.flush()
            os.fsync(out.fileno())
        partial.replace(file)
        folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        fault = f"rollout.directory {directory}: cannot be written: {error.strerror}; nothing was changed"
        raise PreconditionFailed(fault, kind="ROLLOUT", subject="rollout.directory") from error
