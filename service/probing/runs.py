"""Runs as an operator sees them: begun, looked at, paused, resumed, cancelled.

    PENDING --> RUNNING --> DONE          taken up by whoever holds the lease; see runner.py
       ^   \\    |    \\--> FAILED
       |    v    v
       +-- PAUSED     any of the three may become CANCELLED

Every change is one statement to the store, so that replicas need not know of each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guards.errors import ConfigError, PreconditionFailed, UnknownName
from guards.probes.suite import Suite, find_suites, named_suite
from service.policies import PolicyStore
from service.probing.memory import Memory
from service.store.probe_records import FINAL_STATES, ProbeRun, RunState, Trigger, new_run

if TYPE_CHECKING:
    from service.store.store import Store

_MOST_WAITING = 64  # runs that have not ended
_OPEN_STATES = frozenset(RunState) - FINAL_STATES


@dataclass(frozen=True, slots=True)
class RunView:
    run: ProbeRun
    units_done: int


@dataclass(frozen=True, slots=True)
class RunPage:
    """The latest first; `next_page_token` is empty on the last page."""

    runs: tuple[RunView, ...]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class SuitesView:
    """`damaged`: by name what is wrong with a file."""

    suites: tuple[Suite, ...]
    damaged: Mapping[str, str]


class Runs:
    """`changed` hears the id of a run that may have to be taken up, or be left."""

    def __init__(
        self, memory: Memory, suites: Path | None, policies: PolicyStore, changed: Callable[[str], None]
    ) -> None:
        self._memory = memory
        self._suites = suites
        self._policies = policies
        self._changed = changed

    async def suites(self) -> SuitesView:
        return await asyncio.to_thread(_all_suites, self._suites)

    async def start(
        self,
        suite: str,
        policy: str = "",
        seed: int | None = None,
        budget_s: float | None = None,
        trigger: Trigger = Trigger.RPC,
    ) -> RunView:
        """Raises UnknownName for a suite or policy that is none, PreconditionFailed for one that cannot be run."""
        self._policies.select(policy, "")
        try:
            found = await asyncio.to_thread(named_suite, self._suites, suite)
        except ConfigError as error:
            raise PreconditionFailed(str(error), kind="PROBE_SUITE", subject=suite) from error
        store = await self._memory.store()
        if len((await store.probe_runs.list(states=_OPEN_STATES, page_size=_MOST_WAITING)).runs) >= _MOST_WAITING:
            fault = f"{_MOST_WAITING} runs have not ended yet; wait, or cancel some"
            raise PreconditionFailed(fault, kind="PROBE_RUNS", subject=suite)
        run = new_run(
            suite,
            seed=found.seed if seed is None else seed,
            trigger=trigger,
            budget={"policy": policy, "cpu_s": budget_s},
        )
        await store.probe_runs.create(run)
        self._changed(run.id)
        return RunView(run, 0)

    async def get(self, run_id: str) -> RunView:
        """Raises UnknownName."""
        store = await self._memory.store()
        return await self._view(store, await store.probe_runs.get(run_id))

    async def list(self, suite: str, page_size: int, page_token: str) -> RunPage:
        store = await self._memory.store()
        page = await store.probe_runs.list(suite, page_size=page_size, page_token=page_token)
        return RunPage(tuple([await self._view(store, run) for run in page.runs]), page.next_page_token)

    async def pause(self, run_id: str) -> RunView:
        return await self._change(run_id, (RunState.PENDING, RunState.RUNNING), RunState.PAUSED)

    async def resume(self, run_id: str) -> RunView:
        return await self._change(run_id, (RunState.PAUSED,), RunState.PENDING)

    async def cancel(self, run_id: str) -> RunView:
        return await self._change(run_id, _OPEN_STATES, RunState.CANCELLED, finished_at=datetime.now(UTC))

    async def _change(
        self, run_id: str, from_states: Collection[RunState], to_state: RunState, **change: Any
    ) -> RunView:
        """A run that is there already is left as it is, so that a call may be repeated."""
        store = await self._memory.store()
        run = await store.probe_runs.transition(run_id, from_states, to_state, **change)
        if run is None:
            run = await store.probe_runs.get(run_id)
            if run.state is not to_state:
                fault = f"the run is {run.state}, and only one that is {_either(from_states)} can become {to_state}"
                raise PreconditionFailed(fault, kind="PROBE_RUN", subject=run_id)
        self._changed(run_id)
        return await self._view(store, run)

    async def _view(self, store: Store, run: ProbeRun) -> RunView:
        if run.results is not None:
            return RunView(run, run.results.get("units_done", 0))
        return RunView(run, await store.probe_runs.count_units(run.id))


def _either(states: Collection[RunState]) -> str:
    return " or ".join(sorted(states))


def _all_suites(directory: Path | None) -> SuitesView:
    suites: list[Suite] = []
    damaged: dict[str, str] = {}
    try:
        names = sorted(find_suites(directory))
    except ConfigError as error:
        raise PreconditionFailed(str(error), kind="PROBE_SUITE", subject="probing.suites") from error
    for name in names:
        try:
            suites.append(named_suite(directory, name))
        except (ConfigError, UnknownName) as error:
            damaged[name] = str(error)
    return SuitesView(tuple(suites), damaged)
