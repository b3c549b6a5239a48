"""The one way to write: a task that commits many callers' writes at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from guards.errors import Overloaded, Unavailable
from service.logs import fault_fields
from service.store.engine import Database

log = logging.getLogger(__name__)

T = TypeVar("T")
Work: TypeAlias = Callable[[AsyncConnection], Awaitable[T]]

_MOST_AT_ONCE = 256  # writes of one transaction
_RETRY_AFTER_S = 1.0


@dataclass(frozen=True, slots=True)
class _Write:
    work: Work[Any]
    done: asyncio.Future[Any]


class _NoTransaction(Exception):
    """The database is not there, or its commit failed: the writes of this transaction stand or fall together."""


class Writer:
    """Writes wait in a bounded line; those that wait while one transaction commits make up the next.

    A write is a function of a connection. It may run twice, in two transactions of which one is rolled back: it does
    nothing but ask and change the database.
    """

    def __init__(self, database: Database, max_waiting: int) -> None:
        self._database = database
        self._line: asyncio.Queue[_Write | None] = asyncio.Queue()
        self._max_waiting = max_waiting
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        return self._task is not None and not self._task.done() and not self._closing

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="store-writer")

    async def write(self, work: Work[T]) -> T:
        """What `work` gave, once it is committed.

        Raises its error, Overloaded when too many wait, and Unavailable when the database fails or the store closes.
        A caller that is cancelled while its write is at work does not undo it.
        """
        if not self.running:
            raise Unavailable("the store is closed; the service is stopping")
        if self._line.qsize() >= self._max_waiting:
            raise Overloaded("store.max_waiting writes wait for the database already", _RETRY_AFTER_S)
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._line.put_nowait(_Write(work, done))
        return await done

    async def close(self) -> None:
        """Takes no more, and commits what waits."""
        if self._task is None:
            return
        self._closing = True
        self._line.put_nowait(None)
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        last = False
        batch: list[_Write] = []
        try:
            while not last:
                batch, last = await self._next_batch()
                try:
                    await self._commit(batch)
                except Exception as error:  # of our own; the line must go on
                    log.error("store writer failed", extra=fault_fields(error))
                    _fail(batch, Unavailable("the store's writer failed; its log has the place"))
        finally:  # cancelled: nobody waits for ever
            left = [*batch, *(write for write in _drain(self._line) if write)]
            _fail(left, Unavailable("the store closed before this was kept"))

    async def _next_batch(self) -> tuple[list[_Write], bool]:
        """What waits, and whether it is the end."""
        first = await self._line.get()
        waiting = [first]
        while len(waiting) < _MOST_AT_ONCE and not self._line.empty():
            waiting.append(self._line.get_nowait())
        return [write for write in waiting if write and not write.done.cancelled()], None in waiting

    async def _commit(self, batch: Sequence[_Write]) -> None:
        """Together; when one of them fails, each by itself, so that it fails its own caller alone."""
        try:
            await self._together(batch)
        except _NoTransaction as fault:
            _fail(batch, self._explain(fault))
        except Exception as error:
            if len(batch) == 1:
                _fail(batch, self._database.explain(error))
                return
            await self._one_by_one(batch)

    async def _one_by_one(self, batch: Sequence[_Write]) -> None:
        for index, write in enumerate(batch):
            try:
                await self._together([write])
            except _NoTransaction as fault:  # the others need not wait for the same
                _fail(batch[index:], self._explain(fault))
                return
            except Exception as error:
                _fail([write], self._database.explain(error))

    async def _together(self, batch: Sequence[_Write]) -> None:
        if not batch:
            return
        try:
            connection = await self._database.writing()
        except Exception as error:
            raise _NoTransaction from error
        try:
            try:
                transaction = await connection.begin()
            except Exception as error:
                raise _NoTransaction from error
            try:
                outcomes = [await write.work(connection) for write in batch]
            except DBAPIError as error:
                if error.connection_invalidated:
                    raise _NoTransaction from error
                raise
            try:
                await transaction.commit()
            except Exception as error:
                raise _NoTransaction from error
        finally:
            await connection.close()  # rolls back what is not committed
        for write, outcome in zip(batch, outcomes, strict=True):
            if not write.done.done():
                write.done.set_result(outcome)

    def _explain(self, fault: _NoTransaction) -> Exception:
        cause = fault.__cause__
        return self._database.explain(cause) if isinstance(cause, Exception) else fault


def _fail(writes: Sequence[_Write], error: Exception) -> None:
    for write in writes:
        if not write.done.done():
            write.done.set_exception(error)


def _drain(line: asyncio.Queue[_Write | None]) -> list[_Write | None]:
    return [line.get_nowait() for _ in range(line.qsize())]
