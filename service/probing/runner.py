"""Does the runs that wait: one at a time among all replicas, by a lease, each in a process of its own.

A run whose process or replica was killed is taken up where its last unit was kept. What can no longer be compared
is not continued: when the suite or anything that decides has changed, the run fails and says what.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from guards.errors import WardgateError
from guards.probes.records import from_json
from service.config import Settings, settings_to_json
from service.logs import fault_fields
from service.preemption import Preemption
from service.probing.job import Finished, Job, Planned, Refused, UnitDone
from service.probing.memory import Memory
from service.probing.metrics import ProbeMetrics
from service.probing.process import ProbeProcess, WorkerDied, probe_process
from service.probing.scheduler import Scheduler
from service.store.probe_records import ProbeRun, ProbeUnit, RunError, RunState, Trigger, new_run

if TYPE_CHECKING:
    from service.store.store import Store

log = logging.getLogger(__name__)

LEASE = "probes"
_MOST_DEATHS = 3  # of the process, without a unit done between them
_RETRY_S = 1.0
_UNFINISHED = (RunState.PENDING, RunState.RUNNING)


class _Lost(Exception):
    """The run is no longer ours: changed by an admin, or taken over with the lease."""


class Runner:
    """`run` is the task; `wake` says that there may be something to do at once."""

    def __init__(
        self,
        settings: Settings,
        memory: Memory,
        scheduler: Scheduler,
        preemption: Preemption,
        metrics: ProbeMetrics,
        holder: str,
        command: Sequence[str],
    ) -> None:
        self._settings = settings
        self._probing = settings.probing
        self._memory = memory
        self._scheduler = scheduler
        self._preemption = preemption
        self._metrics = metrics
        self.holder = holder
        self._command = command
        self._woken = asyncio.Event()
        self._process: ProbeProcess | None = None

    @property
    def process(self) -> ProbeProcess | None:
        """The one at work now."""
        return self._process

    def wake(self) -> None:
        self._woken.set()

    async def run(self) -> None:
        while True:
            self._woken.clear()
            try:
                await self._round()
            except WardgateError as error:
                log.warning("probes cannot go on, trying again", extra={"fault": str(error)})
            except Exception as error:  # of our own; the loop must go on
                log.error("probe runner failed, trying again", extra=fault_fields(error))
            await self._rest(self._probing.lease_s / 3)

    async def _round(self) -> None:
        """Everything there is to do, if nobody else does it."""
        if not (self._scheduler.schedules or self._memory.holds_something):
            return
        store = await self._memory.store()
        while await self._scheduler.due(store) or await _next(store):
            if not await store.leases.acquire(LEASE, self.holder, self._probing.lease_s):
                return
            try:
                for due in await self._scheduler.due(store):  # again: another replica may have been first
                    await store.probe_runs.create(due)
                while run := await _next(store):
                    await self._carry_out(store, run)
            except _Lost:
                return
            finally:
                with contextlib.suppress(WardgateError):  # it runs out by itself; a cancel must not be lost here
                    await store.leases.release(LEASE, self.holder)

    async def _carry_out(self, store: Store, waiting: ProbeRun) -> None:
        """To its end, or until the run is taken from us. Raises _Lost when the lease is."""
        taken = await store.probe_runs.transition(
            waiting.id,
            _UNFINISHED,
            RunState.RUNNING,
            holder=self.holder,
            started_at=waiting.started_at or datetime.now(UTC),
        )
        if taken is None:
            return
        log.info("probe run at work", extra={"run": taken.id, "suite": taken.suite, "trigger": taken.trigger})
        work = asyncio.create_task(self._work(store, taken))
        watch = asyncio.create_task(self._keep(store, taken))
        try:
            await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (work, watch):
                task.cancel()
            outcomes = await asyncio.gather(work, watch, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    async def _keep(self, store: Store, run: ProbeRun) -> None:
        """Renews the lease and looks at the run, which ends it; returns when the run is no longer RUNNING here."""
        loop, lease_s = asyncio.get_running_loop(), self._probing.lease_s
        ours_until = loop.time() + lease_s
        while True:
            await self._rest(lease_s / 3)
            self._woken.clear()
            asked = loop.time()
            try:
                async with asyncio.timeout(max(0.0, ours_until - asked)):
                    if not await store.leases.renew(LEASE, self.holder, lease_s):
                        raise _Lost
                    now = await store.probe_runs.get(run.id)
            except TimeoutError:
                raise _Lost from None
            except WardgateError as error:  # the store is away: go on while the lease is still ours
                log.warning("the lease on the probes could not be renewed", extra={"fault": str(error)})
                if loop.time() >= ours_until:
                    raise _Lost from None
                continue
            ours_until = asked + lease_s
            if now.state is not RunState.RUNNING or now.holder != self.holder:
                return

    async def _work(self, store: Store, run: ProbeRun) -> None:
        """Tries again when its process dies, unless that dies before it has done anything, too often."""
        deaths = 0
        while True:
            before = await store.probe_runs.unit_keys(run.id)
            try:
                await self._listen(store, run)
                return
            except WorkerDied as death:
                after = await store.probe_runs.unit_keys(run.id)
                deaths = 1 if len(after) > len(before) else deaths + 1
                log.error("probe worker died", extra={"run": run.id, "how": death.how, "deaths": deaths})
                if deaths >= _MOST_DEATHS:
                    fault = f"its process died {deaths} times before a unit was done ({death.how}); see the log"
                    await self._fail(store, run, RunError("CRASHED", fault))
                    return
            await asyncio.sleep(_RETRY_S * deaths)

    async def _listen(self, store: Store, run: ProbeRun) -> None:
        """One process, from its job to its last word. Raises WorkerDied."""
        units = [unit async for unit in store.probe_runs.units(run.id)]
        job = self._job(run, units)
        async with probe_process(self._command) as process:
            # Told while it is listened to: it may have to say that it is dying.
            telling = asyncio.create_task(process.tell(job, [_record(unit) for unit in units]))
            self._process = process
            self._preemption.attach(process)
            try:
                await self._hear(store, run, process)
            finally:
                self._preemption.detach()
                self._process = None
                telling.cancel()

    async def _hear(self, store: Store, run: ProbeRun, process: ProbeProcess) -> None:
        async with aclosing(process.messages(self._probing.unit_timeout_s)) as messages:
            async for message in messages:
                match message:
                    case Planned():
                        if not await self._begin(store, run, message):
                            return
                    case UnitDone():
                        await self._unit_done(store, run, message.unit)
                    case Finished():
                        await self._finish(store, run, message.results)
                        return
                    case Refused():
                        await self._fail(store, run, RunError(message.kind, message.message))
                        return
        raise WorkerDied("it ended without a last word")

    def _job(self, run: ProbeRun, units: Sequence[ProbeUnit]) -> Job:
        budget_s = run.budget.get("cpu_s")
        if budget_s is not None:
            budget_s = max(0.0, budget_s - sum(unit.seconds for unit in units))
        policy = run.budget.get("policy", "")
        settings = settings_to_json(self._settings)
        return Job(settings, run.suite, run.seed, policy, budget_s, len(units), os.getpid())

    async def _begin(self, store: Store, run: ProbeRun, planned: Planned) -> bool:
        """False for a run that was begun with something else."""
        known = (await store.probe_runs.get(run.id)).digests
        if known and dict(known) != dict(planned.digests):
            changed = sorted({name for name, _ in known.items() ^ planned.digests.items()})
            fault = f"changed since the run began: {', '.join(changed)}; start a new run"
            await self._fail(store, run, RunError("CHANGED", fault))
            if run.trigger is Trigger.SCHEDULE:  # nobody would start it but the schedule, much later
                again = new_run(run.suite, seed=run.seed, trigger=run.trigger, budget=run.budget)
                await store.probe_runs.create(again)
            return False
        await store.probe_runs.transition(
            run.id,
            (RunState.RUNNING,),
            RunState.RUNNING,
            held_by=self.holder,
            digests=planned.digests,
            units_total=planned.units,
        )
        return True

    async def _unit_done(self, store: Store, run: ProbeRun, record: Mapping[str, Any]) -> None:
        unit = ProbeUnit(record["key"], datetime.now(UTC), record["seconds"], (record,))
        if await store.probe_runs.record_units(run.id, [unit]):
            self._metrics.unit_done(run.suite, from_json(dict(record)))

    async def _finish(self, store: Store, run: ProbeRun, results: Mapping[str, Any]) -> None:
        done = await store.probe_runs.finish(run.id, results, held_by=self.holder)
        if done is None:
            return
        self._metrics.run_ended(run.suite, "done")
        self._metrics.show(done)
        log.info("probe run done", extra={"run": run.id, "suite": run.suite, "rows": len(results["rows"])})
        await store.probe_runs.delete_older_than(run.suite, keep=self._probing.keep_runs)

    async def _fail(self, store: Store, run: ProbeRun, error: RunError) -> None:
        failed = await store.probe_runs.transition(
            run.id,
            (RunState.RUNNING,),
            RunState.FAILED,
            held_by=self.holder,
            finished_at=datetime.now(UTC),
            error=error,
        )
        if failed is not None:
            self._metrics.run_ended(run.suite, "failed")
            log.error("probe run failed", extra={"run": run.id, "suite": run.suite, "fault": error.message})

    async def _rest(self, seconds: float) -> None:
        """Shorter when something happens."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()


async def _next(store: Store) -> ProbeRun | None:
    """The oldest one that has not ended; what is RUNNING without us, its replica has left."""
    page = await store.probe_runs.list(states=_UNFINISHED, page_size=200)
    return page.runs[-1] if page.runs else None


def _record(unit: ProbeUnit) -> Mapping[str, Any]:
    (record,) = unit.trials
    return dict(record)
