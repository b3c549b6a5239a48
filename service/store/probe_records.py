"""What is remembered of a run of robustness probes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from service.store.ids import new_id

Json = Any  # what JSON can say: numbers are finite


class RunState(StrEnum):
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    DONE = "DONE"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


FINAL_STATES = frozenset((RunState.DONE, RunState.FAILED, RunState.CANCELLED))


class Trigger(StrEnum):
    """Who asked for a run."""

    SCHEDULE = "schedule"
    RPC = "rpc"
    CLI = "cli"


@dataclass(frozen=True, slots=True)
class RunError:
    kind: str  # from a closed set, for metrics
    message: str  # for people; no user text


@dataclass(frozen=True, slots=True)
class ProbeRun:
    id: str  # sorts by the time it was made
    suite: str
    seed: int  # 64 bits, signed
    trigger: Trigger
    created_at: datetime
    digests: Mapping[str, str] = field(default_factory=dict)  # what was probed: model, policy, normalizer, suite file
    budget: Mapping[str, Json] = field(default_factory=dict)
    units_total: int = 0
    state: RunState = RunState.PENDING
    holder: str = ""  # who runs it, or ran it last
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: RunError | None = None
    results: Mapping[str, Json] | None = None  # of a run that is DONE


def new_run(
    suite: str,
    *,
    seed: int,
    trigger: Trigger,
    digests: Mapping[str, str] | None = None,
    budget: Mapping[str, Json] | None = None,
    units_total: int = 0,
) -> ProbeRun:
    """A run that waits to be started, made now."""
    now_ns = time.time_ns()
    return ProbeRun(
        id=new_id(now_ns),
        suite=suite,
        seed=seed,
        trigger=trigger,
        created_at=datetime.fromtimestamp(now_ns / 1e9, UTC),
        digests=dict(digests or {}),
        budget=dict(budget or {}),
        units_total=units_total,
    )


@dataclass(frozen=True, slots=True)
class ProbeUnit:
    """A part of a run that is done once: its trials, recorded together."""

    key: str  # names the unit within its run, in every attempt at it
    finished_at: datetime
    seconds: float
    trials: tuple[Mapping[str, Json], ...]


@dataclass(frozen=True, slots=True)
class ProbeRunPage:
    runs: tuple[ProbeRun, ...]  # newest first
    next_page_token: str  # empty after the last page
