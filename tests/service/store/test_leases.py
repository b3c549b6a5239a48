from __future__ import annotations

import asyncio
import time

import pytest
from sqlalchemy import text

from guards.errors import InvalidInput
from service.config import StoreSettings
from service.store.store import Store
from tests.waiting import until_true

ROUNDS = 12
REPLICAS = 6


async def test_a_lease_is_held_by_one_and_renewed_by_it(store: Store) -> None:
    leases = store.leases
    assert await leases.acquire("probing", "a", 60)
    assert not await leases.acquire("probing", "b", 60)
    assert await leases.acquire("probing", "a", 60)
    assert await leases.acquire("retention", "b", 60)
    assert await leases.renew("probing", "a", 60)
    assert not await leases.renew("probing", "b", 60)
    held = await leases.holder("probing")
    assert held
    assert held.holder == "a"


async def test_a_released_lease_is_free_and_only_its_holder_releases_it(store: Store) -> None:
    leases = store.leases
    await leases.acquire("probing", "a", 60)
    assert not await leases.release("probing", "b")
    assert await leases.release("probing", "a")
    assert not await leases.release("probing", "a")
    assert await leases.holder("probing") is None
    assert await leases.acquire("probing", "b", 60)


async def test_a_dead_holders_lease_passes_on_after_its_time(store: Store) -> None:
    leases = store.leases
    await leases.acquire("probing", "dead", 0.2)
    await until_true(lambda: leases.acquire("probing", "next", 60))
    assert not await leases.renew("probing", "dead", 60)
    assert not await leases.release("probing", "dead")


async def test_an_expired_lease_cannot_be_renewed_even_when_nobody_took_it(store: Store) -> None:
    leases = store.leases
    await leases.acquire("probing", "a", 0.05)

    async def is_free() -> bool:
        return await leases.holder("probing") is None

    await until_true(is_free)
    assert not await leases.renew("probing", "a", 60)
    assert await leases.acquire("probing", "a", 60)


async def test_of_replicas_that_try_at_once_one_gets_the_lease(store: Store, settings: StoreSettings) -> None:
    """Each replica has connections and a writer of its own."""
    others = [await Store.open(settings) for _ in range(REPLICAS - 1)]
    replicas = dict(enumerate([store, *others]))
    try:
        for turn in range(ROUNDS):
            name = f"lease-{turn}"
            got = await asyncio.gather(*(replica.leases.acquire(name, f"{n}", 60) for n, replica in replicas.items()))
            assert sum(got) == 1
            winner = f"{got.index(True)}"
            assert [(await replica.leases.holder(name)).holder for replica in replicas.values()] == [winner] * REPLICAS  # type: ignore[union-attr]
    finally:
        for other in others:
            await other.close()


async def test_two_holders_never_overlap_while_leases_expire_and_are_given_back(
    store: Store, settings: StoreSettings
) -> None:
    """Each holder notes when it held, by the database's clock, between its acquiring and its release."""
    others = [await Store.open(settings) for _ in range(2)]
    holding: set[str] = set()
    most = 0

    async def live(replica: Store, holder: str) -> None:
        nonlocal most
        for _ in range(ROUNDS):
            await until_true(lambda: replica.leases.acquire("probing", holder, 30))
            holding.add(holder)
            most = max(most, len(holding))
            await asyncio.sleep(0)
            holding.remove(holder)
            assert await replica.leases.release("probing", holder)

    try:
        await asyncio.gather(*(live(replica, f"{n}") for n, replica in enumerate([store, *others])))
    finally:
        for other in others:
            await other.close()
    assert most == 1


async def test_the_databases_clock_counts_and_not_its_transactions_beginning(store: Store) -> None:
    """Several writes share a transaction; a lease that is taken late in one is not short for that."""

    async def slow_then_now(connection) -> None:  # type: ignore[no-untyped-def]
        await connection.execute(text("SELECT 1"))
        await asyncio.sleep(0.3)

    before = time.time()
    _, got = await asyncio.gather(store._writer.write(slow_then_now), store.leases.acquire("probing", "a", 10))
    assert got
    held = await store.leases.holder("probing")
    assert held
    assert held.expires_at.timestamp() >= before + 10


@pytest.mark.parametrize(("name", "holder", "ttl_s"), [("", "a", 1), ("x", "", 1), ("x", "a", 0)])
async def test_a_lease_without_a_name_a_holder_or_a_time_is_refused(
    store: Store, name: str, holder: str, ttl_s: float
) -> None:
    with pytest.raises(InvalidInput):
        await store.leases.acquire(name, holder, ttl_s)
