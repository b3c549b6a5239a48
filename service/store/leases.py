"""Leases: of several replicas, one does a thing, and another takes over when it dies.

One row a lease, taken by one statement that compares with the database's clock; the replicas' clocks do not count.
After Gray and Cheriton, "Leases" (SOSP 1989). Departures: one exclusive holder, no recall. The holder must stop by
itself before its lease ends: renew well within `ttl_s`, and take a failed renewal for the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Double, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import FunctionElement

from guards.errors import InvalidInput
from service.store.engine import Database
from service.store.tables import LeaseRow
from service.store.writer import Writer


class database_now(FunctionElement[float]):
    """Seconds since 1970 by the database's clock, as the statement runs and not as its transaction began."""

    type = Double()
    inherit_cache = True


@compiles(database_now, "postgresql")
def _now_postgresql(element: Any, compiler: Any, **_: Any) -> str:
    return "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"


@compiles(database_now, "sqlite")
def _now_sqlite(element: Any, compiler: Any, **_: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@dataclass(frozen=True, slots=True)
class Lease:
    name: str
    holder: str
    expires_at: datetime


class Leases:
    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer

    async def acquire(self, name: str, holder: str, ttl_s: float) -> bool:
        """Takes a lease that is free, expired or the holder's own. False where another holds it."""
        if not name or not holder or ttl_s <= 0:
            raise InvalidInput("a lease needs a name, a holder, and a time of more than 0 s")

        async def take(connection: AsyncConnection) -> bool:
            kind = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
            row = kind(LeaseRow).values(name=name, holder=holder, expires_at=database_now() + ttl_s)
            taken = row.on_conflict_do_update(
                index_elements=(LeaseRow.name,),
                set_={"holder": row.excluded.holder, "expires_at": row.excluded.expires_at},
                where=(LeaseRow.expires_at <= database_now()) | (LeaseRow.holder == row.excluded.holder),
            ).returning(LeaseRow.holder)
            return (await connection.execute(taken)).one_or_none() is not None

        return await self._writer.write(take)

    async def renew(self, name: str, holder: str, ttl_s: float) -> bool:
        """Prolongs a lease that is still the holder's. False: it is lost, whoever has it now."""
        mine = (LeaseRow.name == name) & (LeaseRow.holder == holder) & (LeaseRow.expires_at > database_now())
        prolonged = update(LeaseRow).where(mine).values(expires_at=database_now() + ttl_s)

        async def prolong(connection: AsyncConnection) -> bool:
            return (await connection.execute(prolonged)).rowcount == 1

        return await self._writer.write(prolong)

    async def release(self, name: str, holder: str) -> bool:
        """Gives a lease back. False where it was not the holder's any more."""
        given = delete(LeaseRow).where(LeaseRow.name == name, LeaseRow.holder == holder)

        async def give(connection: AsyncConnection) -> bool:
            return (await connection.execute(given)).rowcount == 1

        return await self._writer.write(give)

    async def holder(self, name: str) -> Lease | None:
        """Who holds a lease now."""
        query = select(LeaseRow.name, LeaseRow.holder, LeaseRow.expires_at).where(
            LeaseRow.name == name, LeaseRow.expires_at > database_now()
        )
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else Lease(row.name, row.holder, datetime.fromtimestamp(row.expires_at, UTC))
