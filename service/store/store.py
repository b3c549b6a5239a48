"""The service's memory, open."""

from __future__ import annotations

import asyncio
import logging
from typing import Self

from sqlalchemy import select

from guards.errors import WardgateError
from service.config import StoreSettings
from service.store.engine import Database
from service.store.leases import Leases
from service.store.probe_runs import ProbeRuns
from service.store.schema import migrate
from service.store.writer import Writer

log = logging.getLogger(__name__)

_HEALTH_TIMEOUT_S = 2.0


class Store:
    """`open` makes one; whoever opened it closes it."""

    def __init__(self, database: Database, max_waiting: int) -> None:
        self._database = database
        self._writer = Writer(database, max_waiting)
        self.probe_runs = ProbeRuns(database, self._writer)
        self.leases = Leases(database, self._writer)

    @classmethod
    async def open(cls, settings: StoreSettings) -> Self:
        """Brings the database to this program's revision first. Raises ConfigError or Unavailable, with the mend."""
        before = await asyncio.to_thread(migrate, settings)
        if before.current != before.newest:
            fields = {"place": before.place, "before": before.current or "none", "revision": before.newest}
            log.info("store migrated", extra=fields)
        store = cls(Database(settings), settings.max_waiting)
        store._writer.start()
        return store

    @property
    def place(self) -> str:
        """Where it is, for people: no secret is in it."""
        return self._database.place

    async def healthy(self) -> bool:
        """Whether the database answers, and writes are taken."""
        if not self._writer.running:
            return False
        try:
            async with asyncio.timeout(_HEALTH_TIMEOUT_S), self._database.reading() as connection:
                await connection.execute(select(1))
        except (WardgateError, TimeoutError):
            return False
        return True

    async def close(self) -> None:
        """Commits what waits, then closes every connection."""
        await self._writer.close()
        await self._database.close()
