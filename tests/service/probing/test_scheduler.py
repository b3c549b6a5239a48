"""When suites run by themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from service.config import ProbingSettings, StoreSettings
from service.probing.scheduler import Scheduler, longest_interval_s
from service.store.probe_records import ProbeRun, RunState, Trigger, new_run
from service.store.store import Store
from tests.service.probing.suites import TINY, write_suite

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, **time: float) -> None:
        self.now += timedelta(**time)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(StoreSettings(url=f"sqlite:///{tmp_path}/wardgate.db"))
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def scheduler(tmp_path: Path, clock: Clock, replica: str = "one", **schedule: object) -> Scheduler:
    write_suite(tmp_path, "tiny", TINY)
    settings = ProbingSettings.model_validate({"suites": tmp_path, "schedules": [{"suite": "tiny", **schedule}]})
    return Scheduler(settings, replica, clock)


async def make(store: Store, due: list[ProbeRun], at: datetime, state: RunState = RunState.DONE) -> None:
    for run in due:
        await store.probe_runs.create(replace(run, created_at=at, state=state))


async def test_every_so_often_from_now_on(store: Store, tmp_path: Path, clock: Clock) -> None:
    made = scheduler(tmp_path, clock, every="6h")
    first = await made.due(store)
    assert [(run.suite, run.seed, run.trigger) for run in first] == [("tiny", 7, Trigger.SCHEDULE)]
    await make(store, first, clock.now)
    assert await made.due(store) == []
    clock.pass_by(hours=5, minutes=59)
    assert await made.due(store) == []
    clock.pass_by(minutes=1)
    assert len(await made.due(store)) == 1


async def test_a_cron_schedule_waits_for_its_time(store: Store, tmp_path: Path, clock: Clock) -> None:
    made = scheduler(tmp_path, clock, cron="30 3 * * *")
    assert await made.due(store) == []
    clock.pass_by(hours=15)
    assert await made.due(store) == []
    clock.pass_by(minutes=30)
    assert len(await made.due(store)) == 1


async def test_of_what_was_missed_one_run_is_made_up_for(store: Store, tmp_path: Path, clock: Clock) -> None:
    await make(store, await scheduler(tmp_path, clock, every="1h").due(store), clock.now)
    clock.pass_by(days=10)
    after_the_pause = scheduler(tmp_path, clock, every="1h")
    due = await after_the_pause.due(store)
    assert len(due) == 1
    await make(store, due, clock.now)
    assert await after_the_pause.due(store) == []


@pytest.mark.parametrize("state", [RunState.PENDING, RunState.RUNNING, RunState.PAUSED])
async def test_none_is_begun_while_one_has_not_ended(
    store: Store, tmp_path: Path, clock: Clock, state: RunState
) -> None:
    made = scheduler(tmp_path, clock, every="1h")
    await make(store, await made.due(store), clock.now, state)
    clock.pass_by(days=1)
    assert await made.due(store) == []


async def test_runs_that_people_begin_and_other_policies_do_not_count(
    store: Store, tmp_path: Path, clock: Clock
) -> None:
    await store.probe_runs.create(new_run("tiny", seed=7, trigger=Trigger.RPC))
    await store.probe_runs.create(new_run("tiny", seed=7, trigger=Trigger.SCHEDULE, budget={"policy": "strict"}))
    assert len(await scheduler(tmp_path, clock, every="1h").due(store)) == 1


async def test_jitter_is_each_replicas_own_and_always_the_same(store: Store, tmp_path: Path, clock: Clock) -> None:
    async def begins(replica: str) -> int:
        clock.now = NOON
        made = scheduler(tmp_path, clock, replica, every="1h", jitter_s=600)
        for second in range(601):
            if await made.due(store):
                return second
            clock.pass_by(seconds=1)
        raise AssertionError("it never began")

    one, other = await begins("one"), await begins("other")
    assert one != other
    assert await begins("one") == one


async def test_a_suite_that_broke_is_told_of_and_tried_again(
    store: Store, tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    made = scheduler(tmp_path, clock, every="1h")
    write_suite(tmp_path, "tiny", "name: tiny")
    assert await made.due(store) == []
    assert "a schedule cannot begin its run" in caplog.text
    write_suite(tmp_path, "tiny", TINY)
    clock.pass_by(minutes=5)
    assert len(await made.due(store)) == 1


@pytest.mark.parametrize(
    ("schedule", "fault"),
    [
        ({}, "one of `every` and `cron`"),
        ({"every": "1h", "cron": "* * * * *"}, "one of `every` and `cron`"),
        ({"cron": "61 * * * *"}, "five fields"),
        ({"cron": "now"}, "five fields"),
        ({"every": "1s"}, "minute"),
    ],
)
def test_a_schedule_that_says_no_time_is_refused(schedule: dict[str, str], fault: str) -> None:
    with pytest.raises(ValidationError) as refused:
        ProbingSettings.model_validate({"schedules": [{"suite": "tiny", **schedule}]})
    assert fault in str(refused.value)


@pytest.mark.parametrize(
    ("schedules", "hours"),
    [
        ([{"every": "6h"}], 6),
        ([{"every": "6h", "jitter_s": 3600}], 7),
        ([{"cron": "30 3 * * *"}], 24),
        ([{"cron": "0 9 * * 1-5"}], 72),  # over the week-end
        ([{"cron": "0 9 * * 1-5"}, {"every": "12h", "policy": "other"}], 12),
    ],
)
def test_the_longest_pause_that_schedules_plan(schedules: list[dict[str, object]], hours: float) -> None:
    settings = ProbingSettings.model_validate({"schedules": [{"suite": "tiny", **one} for one in schedules]})
    assert longest_interval_s(settings.schedules, NOON) == {"tiny": hours * 3600}
