from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from guards.errors import InvalidInput, Overloaded, Unavailable
from service.config import StoreSettings
from service.store.engine import Database
from service.store.schema import migrate
from service.store.store import Store
from service.store.writer import Writer
from tests.service.store.test_probe_runs import a_run, a_unit, kept


async def test_writes_that_wait_share_a_transaction(settings: StoreSettings) -> None:
    migrate(settings)
    database = Database(settings)
    writer = Writer(database, 100)
    seen: list[int] = []

    async def write(connection: AsyncConnection) -> None:
        seen.append(id(connection))

    writer.start()
    await asyncio.gather(*(writer.write(write) for _ in range(50)))
    await writer.close()
    await database.close()
    assert len(seen) == 50
    assert len(set(seen)) <= 2


async def test_one_failing_write_fails_its_own_caller_alone(store: Store) -> None:
    run = await kept(store, a_run())
    runs = store.probe_runs

    async def fail(connection: AsyncConnection) -> None:
        await connection.execute(text("INSERT INTO probe_runs (id) VALUES (NULL)"))

    async def crash(connection: AsyncConnection) -> None:
        raise ZeroDivisionError

    outcomes = await asyncio.gather(
        runs.record_units(run.id, [a_unit("a")]),
        store._writer.write(fail),
        runs.record_units(run.id, [a_unit("b")]),
        store._writer.write(crash),
        runs.record_units(a_run().id, [a_unit("c")]),
        runs.record_units(run.id, [a_unit("a"), a_unit("d")]),
        return_exceptions=True,
    )
    assert [outcomes[0], outcomes[2], outcomes[5]] == [{"a"}, {"b"}, {"d"}]
    assert isinstance(outcomes[1], InvalidInput)
    assert isinstance(outcomes[3], ZeroDivisionError)
    assert await runs.unit_keys(run.id) == {"a", "b", "d"}
    assert await store.healthy()


async def test_a_full_line_refuses_at_once(settings: StoreSettings) -> None:
    migrate(settings)
    database = Database(settings)
    writer = Writer(database, max_waiting=3)
    at_work, go = asyncio.Event(), asyncio.Event()

    async def wait(connection: AsyncConnection) -> str:
        at_work.set()
        await go.wait()
        return "kept"

    writer.start()
    first = asyncio.create_task(writer.write(wait))
    await at_work.wait()
    waiting = [asyncio.create_task(writer.write(wait)) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await writer.write(wait)
    go.set()
    assert await asyncio.gather(first, *waiting) == ["kept"] * 4
    await writer.close()
    await database.close()


async def test_closing_commits_what_waits_and_takes_no_more(settings: StoreSettings) -> None:
    store = await Store.open(settings)
    run = await kept(store, a_run())
    writes = [asyncio.create_task(store.probe_runs.record_units(run.id, [a_unit(f"{n:03}")])) for n in range(300)]
    await asyncio.sleep(0)
    await store.close()
    assert all(task.done() for task in writes)
    assert {key for task in writes for key in task.result()} == {f"{n:03}" for n in range(300)}
    with pytest.raises(Unavailable):
        await store.probe_runs.create(a_run())
    assert not await store.healthy()
    again = await Store.open(settings)
    assert await again.probe_runs.count_units(run.id) == 300
    await again.close()


async def test_one_caller_leaving_does_not_hurt_the_others(store: Store) -> None:
    run = await kept(store, a_run())
    at_work, go = asyncio.Event(), asyncio.Event()

    async def wait(connection: AsyncConnection) -> None:
        at_work.set()
        await go.wait()

    holding = asyncio.create_task(store._writer.write(wait))
    await at_work.wait()
    leaving = asyncio.create_task(store.probe_runs.record_units(run.id, [a_unit("left")]))
    staying = asyncio.create_task(store.probe_runs.record_units(run.id, [a_unit("stays")]))
    await asyncio.sleep(0)
    leaving.cancel()
    holding.cancel()
    await asyncio.sleep(0)
    go.set()
    assert await staying == {"stays"}
    assert await store.probe_runs.unit_keys(run.id) == {"stays"}


async def test_a_write_that_reads_first_is_not_overtaken_by_another_replica(
    store: Store, settings: StoreSettings
) -> None:
    """In SQLite a transaction that has read could not write any more once another has written."""
    run, other = await kept(store, a_run()), await Store.open(settings)
    overtaking: list[asyncio.Task[frozenset[str]]] = []

    async def read_then_write(connection: AsyncConnection) -> None:
        await connection.execute(text("SELECT id FROM probe_runs"))
        overtaking.append(asyncio.create_task(other.probe_runs.record_units(run.id, [a_unit("b")])))
        await asyncio.wait(overtaking, timeout=1.0)
        await connection.execute(text("UPDATE leases SET holder = 'nobody'"))

    await store._writer.write(read_then_write)
    assert await overtaking[0] == {"b"}
    await other.close()


async def test_a_database_that_goes_away_is_told_and_comes_back(postgres_settings: StoreSettings, postgres) -> None:  # type: ignore[no-untyped-def]
    store = await Store.open(postgres_settings)
    run = await kept(store, a_run())

    async def cut_off(connection: AsyncConnection) -> None:
        await connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    outcomes = await asyncio.gather(
        store._writer.write(cut_off), store.probe_runs.record_units(run.id, [a_unit("a")]), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [Unavailable, Unavailable]
    assert "57P01" in str(outcomes[0])
    assert await store.probe_runs.record_units(run.id, [a_unit("a")]) == {"a"}
    await store.close()


async def test_replicas_that_want_the_same_rows_in_other_orders_all_succeed(
    postgres_settings: StoreSettings,
) -> None:
    """PostgreSQL ends one of two transactions that wait for each other; its writes are done again one by one."""
    replicas = [await Store.open(postgres_settings) for _ in range(2)]
    names = ["x", "y"]
    met = asyncio.Barrier(2)

    async def both(store: Store, order: list[str]) -> list[bool]:
        first = True

        async def wait_for_the_other(connection: AsyncConnection) -> None:
            nonlocal first
            if first:
                first = False
                await met.wait()

        one, _, two = await asyncio.gather(
            store.leases.acquire(order[0], f"{id(store)}", 60),
            store._writer.write(wait_for_the_other),
            store.leases.acquire(order[1], f"{id(store)}", 60),
        )
        return [one, two]

    got = await asyncio.gather(both(replicas[0], names), both(replicas[1], names[::-1]))
    assert sorted(outcome for pair in got for outcome in pair) == [False, False, True, True]
    for replica in replicas:
        await replica.close()
