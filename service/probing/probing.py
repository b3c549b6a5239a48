"""Everything about probes that the service owns: what is kept, what is due, what runs, who watches."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import Sequence
from datetime import UTC, datetime

from guards.errors import ConfigError, WardgateError
from guards.probes.suite import find_suites
from service.config import Settings
from service.logs import fault_fields
from service.policies import PolicyStore
from service.preemption import Preemption
from service.probing.memory import Memory
from service.probing.metrics import ProbeMetrics
from service.probing.process import WORKER
from service.probing.runner import Runner
from service.probing.runs import Runs
from service.probing.scheduler import Scheduler, longest_interval_s
from service.probing.watch import Watches

log = logging.getLogger(__name__)

_REFRESH_S = 60.0


class Probing:
    """Nothing is opened or started before `run`. Raises ConfigError for a schedule of what does not exist."""

    def __init__(
        self, settings: Settings, policies: PolicyStore, metrics: ProbeMetrics, command: Sequence[str] = WORKER
    ) -> None:
        _check_schedules(settings, policies)
        probing, host = settings.probing, socket.gethostname()
        holder = f"{host}-{os.getpid()}-{secrets.token_hex(4)}"
        self._settings = settings
        self._metrics = metrics
        self.memory = Memory(settings.store)
        self.preemption = Preemption(probing.idle_s, probing.min_share, metrics.preemptions.inc)
        scheduler = Scheduler(probing, host)
        for suite, interval_s in longest_interval_s(probing.schedules, datetime.now(UTC)).items():
            metrics.scheduled(suite, interval_s)
        self.runner = Runner(settings, self.memory, scheduler, self.preemption, metrics, holder, command)
        self.runs = Runs(self.memory, probing.suites, policies, lambda _: self.runner.wake())
        self.watches = Watches(self.runs.get)

    async def start(self) -> None:
        """With schedules, a store that cannot be used is found out before the ports open."""
        if self._settings.probing.schedules:
            await self.memory.store()

    async def run(self) -> None:
        """Until cancelled; then no process is left."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.runner.run())
            tasks.create_task(self._follow())

    async def close(self) -> None:
        await self.memory.close()

    async def _follow(self) -> None:
        """The figures of the last runs: those from before the start, and those that other replicas did."""
        while True:
            try:
                if self.memory.holds_something:
                    await self._refresh()
            except WardgateError as error:
                log.warning("the last runs of the probes cannot be read", extra={"fault": str(error)})
            except Exception as error:  # of our own; live traffic must not end with it
                log.error("the last runs of the probes cannot be shown", extra=fault_fields(error))
            await asyncio.sleep(_REFRESH_S)

    async def _refresh(self) -> None:
        store = await self.memory.store()
        for suite in await asyncio.to_thread(find_suites, self._settings.probing.suites):
            if run := await store.probe_runs.last_finished(suite):
                self._metrics.show(run)


def _check_schedules(settings: Settings, policies: PolicyStore) -> None:
    if not settings.probing.schedules:
        return
    known = find_suites(settings.probing.suites)
    for schedule in settings.probing.schedules:
        if schedule.suite not in known:
            listed = ", ".join(sorted(known))
            raise ConfigError(f"probing.schedules: there is no suite '{schedule.suite}'; known: {listed}")
        try:
            policies.select(schedule.policy, "")
        except WardgateError as error:
            raise ConfigError(f"probing.schedules: suite '{schedule.suite}': {error}") from error
