"""When suites run by themselves. What is due is read off the runs that there are, so that replicas need not agree."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from cronsim import CronSim

from guards.errors import WardgateError
from guards.probes.suite import named_suite
from service.config import ProbingSettings, ScheduleSettings
from service.store.probe_records import FINAL_STATES, ProbeRun, Trigger, new_run

if TYPE_CHECKING:
    from service.store.store import Store

log = logging.getLogger(__name__)

_LOOKED_AT = 200  # latest runs of a suite, among which a schedule's last one is looked for
_AFTER_A_FAULT = timedelta(minutes=5)
_PLANNED = 400  # times of a cron expression, among which its longest pause is looked for: a week of every half hour


def _now() -> datetime:
    return datetime.now(UTC)


class Scheduler:
    """`replica` seeds the jitter. Of what was missed, one run is made up for; while one has not ended, none is begun.

    A schedule that never ran begins now with `every`, and at its next time with `cron`.
    """

    def __init__(self, settings: ProbingSettings, replica: str, now: Callable[[], datetime] = _now) -> None:
        self.schedules = settings.schedules
        self._suites: Path | None = settings.suites
        self._replica = replica
        self._now = now
        self._began = now()
        self._not_before: dict[ScheduleSettings, datetime] = {}  # until when the store need not be asked

    async def due(self, store: Store) -> list[ProbeRun]:
        """The runs to make now; nothing is kept yet."""
        runs = []
        for schedule in self.schedules:
            if self._now() < self._not_before.get(schedule, self._began):
                continue
            try:
                if await self._is_due(store, schedule):
                    runs.append(await self._run_of(schedule))
            except WardgateError as error:
                log.error("a schedule cannot begin its run", extra={"suite": schedule.suite, "fault": str(error)})
                self._not_before[schedule] = self._now() + _AFTER_A_FAULT
        return runs

    async def _is_due(self, store: Store, schedule: ScheduleSettings) -> bool:
        page = await store.probe_runs.list(schedule.suite, page_size=_LOOKED_AT)
        last = next((run for run in page.runs if _is_of(run, schedule)), None)
        if last is not None and last.state not in FINAL_STATES:
            return False
        begins = self._next(schedule, last.created_at if last else None)
        self._not_before[schedule] = begins
        return self._now() >= begins

    def _next(self, schedule: ScheduleSettings, last: datetime | None) -> datetime:
        if schedule.cron is not None:
            slot = next(CronSim(schedule.cron, last or self._began))
        else:
            assert schedule.every is not None
            slot = last + schedule.every if last else self._began
        chance = random.Random(f"{self._replica} {schedule.suite} {schedule.policy} {slot.isoformat()}")  # noqa: S311
        return slot + timedelta(seconds=chance.uniform(0, schedule.jitter_s))

    async def _run_of(self, schedule: ScheduleSettings) -> ProbeRun:
        suite = await asyncio.to_thread(named_suite, self._suites, schedule.suite)
        budget = {"policy": schedule.policy, "cpu_s": schedule.budget_s}
        return new_run(schedule.suite, seed=suite.seed, trigger=Trigger.SCHEDULE, budget=budget)


def longest_interval_s(schedules: Sequence[ScheduleSettings], since: datetime) -> Mapping[str, float]:
    """By suite, the longest pause in seconds that its most frequent schedule plans from `since` on, jitter included."""
    pauses: dict[str, float] = {}
    for schedule in schedules:
        pause_s = _longest_pause_s(schedule, since) + schedule.jitter_s
        pauses[schedule.suite] = min(pause_s, pauses.get(schedule.suite, pause_s))
    return pauses


def _longest_pause_s(schedule: ScheduleSettings, since: datetime) -> float:
    if schedule.every is not None:
        return schedule.every.total_seconds()
    assert schedule.cron is not None
    times = list(islice(CronSim(schedule.cron, since), _PLANNED))
    return max(((later - earlier).total_seconds() for earlier, later in pairwise(times)), default=math.inf)


def _is_of(run: ProbeRun, schedule: ScheduleSettings) -> bool:
    return run.trigger is Trigger.SCHEDULE and run.budget.get("policy", "") == schedule.policy
