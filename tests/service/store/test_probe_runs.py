from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from guards.errors import InvalidInput, UnknownName
from service.store.probe_records import ProbeRun, ProbeUnit, RunError, RunState, Trigger, new_run
from service.store.store import Store

NOW = datetime(2026, 11, 24, 12, 30, 1, 250_000, tzinfo=UTC)


def a_run(suite: str = "core", seed: int = 7) -> ProbeRun:
    return new_run(
        suite,
        seed=seed,
        trigger=Trigger.RPC,
        digests={"model": "a" * 64, "policy": "b" * 64},
        budget={"seconds": 600, "trials": 4096},
        units_total=3,
    )


def a_unit(key: str, trials: int = 1) -> ProbeUnit:
    return ProbeUnit(key, NOW, 0.25, tuple({"index": index, "broken": index % 2 == 0} for index in range(trials)))


async def kept(store: Store, run: ProbeRun) -> ProbeRun:
    await store.probe_runs.create(run)
    return run


async def done(store: Store, run: ProbeRun) -> ProbeRun:
    await store.probe_runs.create(run)
    await store.probe_runs.transition(run.id, [RunState.PENDING], RunState.RUNNING)
    finished = await store.probe_runs.finish(run.id, {"rate": 0.5})
    assert finished
    return finished


async def test_a_run_is_given_back_as_it_was_created(store: Store) -> None:
    run = await kept(store, a_run(seed=-(1 << 63)))
    assert await store.probe_runs.get(run.id) == run


async def test_a_run_goes_from_pending_to_done(store: Store) -> None:
    run = await kept(store, a_run())
    started = await store.probe_runs.transition(
        run.id, [RunState.PENDING], RunState.RUNNING, holder="replica-1", started_at=NOW
    )
    assert started
    assert (started.state, started.holder, started.started_at) == (RunState.RUNNING, "replica-1", NOW)
    finished = await store.probe_runs.finish(run.id, {"rate": 0.125, "slices": [{"de": 1}]}, held_by="replica-1")
    assert finished == await store.probe_runs.get(run.id)
    assert (finished.state, finished.results) == (RunState.DONE, {"rate": 0.125, "slices": [{"de": 1}]})
    assert finished.finished_at
    assert finished.finished_at.tzinfo


async def test_a_transition_from_another_state_or_holder_changes_nothing(store: Store) -> None:
    run = await kept(store, a_run())
    runs = store.probe_runs
    assert await runs.transition(run.id, [RunState.RUNNING, RunState.PAUSED], RunState.DONE) is None
    assert await runs.transition(run.id, [], RunState.DONE) is None
    assert await runs.transition("nobody", [RunState.PENDING], RunState.DONE) is None
    await runs.transition(run.id, [RunState.PENDING], RunState.RUNNING, holder="replica-1")
    assert await runs.finish(run.id, {}, held_by="replica-2") is None
    assert (await runs.get(run.id)).state == RunState.RUNNING


async def test_a_failed_run_says_why_and_no_longer_than_fits(store: Store) -> None:
    run = await kept(store, a_run())
    failed = await store.probe_runs.transition(
        run.id,
        [RunState.PENDING],
        RunState.FAILED,
        error=RunError("budget", "\x00\ud800\n" + "x" * 2000),
        finished_at=NOW,
    )
    assert failed
    assert failed.error
    assert failed.error == RunError("budget", "   " + "x" * 497)
    again = await store.probe_runs.transition(run.id, [RunState.FAILED], RunState.PENDING, error=None)
    assert again
    assert again.error is None


async def test_a_unit_reported_twice_is_counted_once_and_stays_as_it_was_first(store: Store) -> None:
    run = await kept(store, a_run())
    assert await store.probe_runs.record_units(run.id, [a_unit("b", 2), a_unit("a")]) == {"a", "b"}
    assert await store.probe_runs.record_units(run.id, [a_unit("b", 5), a_unit("c"), a_unit("c", 9)]) == {"c"}
    assert await store.probe_runs.unit_keys(run.id) == {"a", "b", "c"}
    assert await store.probe_runs.count_units(run.id) == 3
    units = [unit async for unit in store.probe_runs.units(run.id)]
    assert [unit.key for unit in units] == ["a", "b", "c"]
    assert units[1] == a_unit("b", 2)


async def test_units_of_a_run_that_is_not_kept_are_refused(store: Store) -> None:
    with pytest.raises(UnknownName):
        await store.probe_runs.record_units(a_run().id, [a_unit("a")])
    with pytest.raises(UnknownName):
        await store.probe_runs.get(a_run().id)


async def test_units_come_in_the_order_of_code_points_whatever_the_servers_language(store: Store) -> None:
    run = await kept(store, a_run())
    keys = ["a", "B", "ä", "Z", "z/1", "z-1", "z 1", "ß", "中", "\U0001f600"]
    await store.probe_runs.record_units(run.id, [a_unit(key) for key in keys])
    assert [unit.key async for unit in store.probe_runs.units(run.id)] == sorted(keys)


async def test_more_units_than_one_read_are_streamed_whole(store: Store) -> None:
    run, other = await kept(store, a_run()), await kept(store, a_run())
    units = [a_unit(f"{index:05}") for index in range(1001)]
    await store.probe_runs.record_units(run.id, units)
    await store.probe_runs.record_units(other.id, units[:2])
    assert [unit async for unit in store.probe_runs.units(run.id)] == units


async def test_times_keep_their_moment_whatever_their_zone(store: Store) -> None:
    run = await kept(store, a_run())
    moment = NOW.astimezone(timezone(timedelta(hours=5, minutes=45)))
    changed = await store.probe_runs.transition(run.id, [RunState.PENDING], RunState.RUNNING, started_at=moment)
    assert changed
    assert (changed.started_at, changed.started_at and changed.started_at.tzinfo) == (NOW, UTC)


@pytest.mark.parametrize(
    "unit",
    [
        ProbeUnit("", NOW, 1.0, ()),
        ProbeUnit("a\x00b", NOW, 1.0, ()),
        ProbeUnit("k" * 513, NOW, 1.0, ()),
        ProbeUnit("\ud800", NOW, 1.0, ()),
        ProbeUnit("a", NOW.replace(tzinfo=None), 1.0, ()),
        ProbeUnit("a", NOW, 1.0, ({"score": float("nan")},)),
        ProbeUnit("a", NOW, 1.0, ({"score": object()},)),
    ],
    ids=["empty key", "NUL in key", "long key", "surrogate in key", "no zone", "NaN", "no JSON"],
)
async def test_what_cannot_be_kept_on_every_database_is_refused_whole(store: Store, unit: ProbeUnit) -> None:
    run = await kept(store, a_run())
    with pytest.raises(InvalidInput):
        await store.probe_runs.record_units(run.id, [a_unit("0"), unit])
    assert await store.probe_runs.unit_keys(run.id) == frozenset()


async def test_trials_may_hold_any_text(store: Store) -> None:
    run = await kept(store, a_run())
    unit = ProbeUnit("a", NOW, 1.0, ({"text": "\x00 \ud800 \U0001f600 \u202e", "n": 1 << 70, "x": None},))
    await store.probe_runs.record_units(run.id, [unit])
    assert [kept async for kept in store.probe_runs.units(run.id)] == [unit]


async def test_a_run_is_created_once(store: Store) -> None:
    run = await kept(store, a_run())
    with pytest.raises(InvalidInput):
        await store.probe_runs.create(run)
    with pytest.raises(InvalidInput):
        await store.probe_runs.create(a_run(seed=1 << 63))


async def test_the_last_finished_run_is_the_one_before_of_the_same_suite(store: Store) -> None:
    first, _, second = await done(store, a_run()), await done(store, a_run("other")), await done(store, a_run())
    pending = await kept(store, a_run())
    runs = store.probe_runs
    assert await runs.last_finished("core") == second
    assert await runs.last_finished("core", before=pending.id) == second
    assert await runs.last_finished("core", before=second.id) == first
    assert await runs.last_finished("core", before=first.id) is None


async def test_old_runs_go_with_their_units_and_running_ones_stay(store: Store) -> None:
    runs = store.probe_runs
    ended = [await done(store, a_run()) for _ in range(4)]
    going, other = await kept(store, a_run()), await done(store, a_run("other"))
    await runs.record_units(ended[0].id, [a_unit("a")])
    assert await runs.delete_older_than("core", keep=1, before=ended[2].created_at) == 2
    assert await runs.delete_older_than("core", keep=1) == 1
    assert await runs.count_units(ended[0].id) == 0
    assert [run.id for run in (await runs.list()).runs] == [other.id, going.id, ended[3].id]
    assert await runs.delete_older_than("core", before=datetime.now(UTC) + timedelta(days=1)) == 1
    assert await runs.delete_older_than("core", keep=0) == 0
    with pytest.raises(InvalidInput):
        await runs.delete_older_than("core")


async def test_a_list_is_filtered_and_newest_first(store: Store) -> None:
    runs = store.probe_runs
    first, second, third = await done(store, a_run()), await kept(store, a_run()), await done(store, a_run("other"))
    assert (await runs.list()).runs == (third, second, first)
    assert (await runs.list("core")).runs == (second, first)
    assert (await runs.list(states=[RunState.DONE])).runs == (third, first)
    assert (await runs.list("core", [RunState.RUNNING, RunState.PENDING])).runs == (second,)
    with pytest.raises(InvalidInput):
        await runs.list(page_token="' OR 1=1")
