"""A kind of guard as an installed package would bring it, which misbehaves as its settings say."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from guards.base import Subject
from guards.errors import DeadlineExceeded, GuardError, Overloaded
from guards.registry import GuardKind, guard_kinds
from guards.types import Action, Finding
from tests.plugins import installed_package

Behaviour = Literal["raise", "quote", "guard_error", "memory", "hang", "time_out", "overload", "run_late", "redact"]


class PluginConfig(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    does: Behaviour


class PluginGuard:
    uses_scores = False

    def __init__(self, config: PluginConfig) -> None:
        self.name = config.name
        self._does = config.does

    async def evaluate(self, subject: Subject) -> tuple[Finding, ...]:
        match self._does:
            case "raise":
                raise KeyError("a bug in the guard")
            case "quote":
                raise ValueError(subject.text.original)
            case "guard_error":
                raise GuardError("cannot judge")
            case "memory":
                raise MemoryError
            case "hang":
                await asyncio.Event().wait()
            case "time_out":
                raise TimeoutError  # its own, not ours
            case "overload":
                raise Overloaded("full", retry_after_s=2.5)
            case "run_late":
                raise DeadlineExceeded("late")
            case "redact":
                return (Finding(self.name, "thing", Action.REDACT),)  # without saying where
        return ()


KIND = GuardKind(PluginConfig, PluginGuard)
NOT_A_KIND = PluginGuard


@contextmanager
def installed(folder: Path, **points: str) -> Iterator[None]:
    """As if pip had installed a package with these kinds of guard, by default `plugin`."""
    with installed_package(folder, "wardgate.guards", points or {"plugin": f"{__name__}:KIND"}):
        guard_kinds.cache_clear()
        try:
            yield
        finally:
            guard_kinds.cache_clear()
