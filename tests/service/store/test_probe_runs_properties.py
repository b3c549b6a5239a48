"""What holds for every order of reports, and for every way to turn pages."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from hypothesis import HealthCheck, given, settings, strategies

from service.config import StoreSettings
from service.store.probe_records import RunState
from service.store.store import Store
from tests.service.store.test_probe_runs import a_run, a_unit, kept

KEYS = strategies.sampled_from([f"attack/{n}" for n in range(8)])
REPORTS = strategies.lists(strategies.lists(KEYS, max_size=5), max_size=6)
FEW = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def with_store(store_settings: StoreSettings, work: Any) -> None:
    """Each example has a loop of its own, and runs of its own in the same database."""

    async def run() -> None:
        store = await Store.open(store_settings)
        try:
            await work(store)
        finally:
            await store.close()

    asyncio.run(run())


def test_however_units_are_reported_each_counts_once(settings: StoreSettings) -> None:
    @FEW
    @given(reports=REPORTS, at_once=strategies.booleans())
    def holds(reports: list[list[str]], at_once: bool) -> None:
        async def work(store: Store) -> None:
            run = await kept(store, a_run())
            calls: list[Coroutine[Any, Any, frozenset[str]]] = [
                store.probe_runs.record_units(run.id, [a_unit(key, n + 1) for key in keys])
                for n, keys in enumerate(reports)
            ]
            new = await asyncio.gather(*calls) if at_once else [await call for call in calls]
            every = {key for keys in reports for key in keys}
            assert sum(len(part) for part in new) == len(every)
            assert frozenset().union(*new) == every == await store.probe_runs.unit_keys(run.id)
            units = [unit async for unit in store.probe_runs.units(run.id)]
            assert [unit.key for unit in units] == sorted(every)
            for unit in units:  # as the report that was new had it
                assert unit.key in new[len(unit.trials) - 1]

        with_store(settings, work)

    holds()


def test_pages_hold_every_run_once_newest_first_whatever_is_added_meanwhile(settings: StoreSettings) -> None:
    @FEW
    @given(
        mine=strategies.lists(strategies.booleans(), max_size=9),
        size=strategies.integers(1, 4),
        added=strategies.integers(0, 2),
    )
    def holds(mine: list[bool], size: int, added: int) -> None:
        async def work(store: Store) -> None:
            suite = a_run().id  # one that no other example has
            runs = [await kept(store, a_run(suite if is_mine else f"{suite}-other")) for is_mine in mine]
            seen: list[str] = []
            token = ""
            while True:
                page = await store.probe_runs.list(suite, [RunState.PENDING], size, token)
                assert len(page.runs) == size or not page.next_page_token
                seen += [run.id for run in page.runs]
                token = page.next_page_token
                if not token:
                    break
                for _ in range(added):
                    await kept(store, a_run(suite))
            assert seen == [run.id for run in reversed(runs) if run.suite == suite]

        with_store(settings, work)

    holds()
