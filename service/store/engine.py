"""Connections to the database that `store.url` names, and what its faults mean to the service."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, make_url
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError, StatementError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from guards.errors import ConfigError, InvalidInput, Unavailable, WardgateError
from service.config import StoreSettings

_WRITING = "wardgate_writing"
# Of PostgreSQL's server: no statement hangs, and one that waits for another replica's row gives up.
_SERVER_OPTIONS = "-c statement_timeout=30s -c lock_timeout=10s -c timezone=UTC"
_SILENT_PEER_MS = 30_000  # a peer that acknowledges nothing for so long is gone


class Database:
    """A pool of connections. `place` names the database in messages; no secret is in it."""

    def __init__(self, settings: StoreSettings) -> None:
        self.url = database_url(settings)
        self.place = place(self.url)
        self._engine: AsyncEngine = create_async_engine(
            self.url,
            connect_args=_connect_args(self.url, settings),
            pool_pre_ping=self.url.get_backend_name() == "postgresql",
            pool_size=settings.max_connections,
            max_overflow=0,
            pool_timeout=settings.connect_timeout_s,
            hide_parameters=True,  # in errors, which are logged
        )
        _prepare(self._engine.sync_engine, settings)
        self._writing = self._engine.execution_options(**{_WRITING: True})

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        with self.explained():
            async with self._engine.connect() as connection:
                yield connection

    def writing(self) -> AsyncConnection:
        """Not yet begun; a transaction of it may write."""
        return self._writing.connect()

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turns the database's errors into the service's."""
        try:
            yield
        except (SQLAlchemyError, OverflowError, UnicodeError) as error:
            raise self.explain(error) from error

    def explain(self, error: Exception) -> Exception:
        """What an error means: the caller's values, or a database that is not there. Values are never repeated."""
        if isinstance(error, IntegrityError):
            return InvalidInput("the store refuses this: a row of that name exists, or what it belongs to does not")
        if isinstance(error, DataError | OverflowError | UnicodeError) or (
            isinstance(error, StatementError) and not isinstance(error, DBAPIError)
        ):
            return InvalidInput(
                "the store cannot keep this: times need a zone, integers fit 64 bits, and text has no NUL or lone "
                "surrogate"
            )
        if isinstance(error, SQLAlchemyError):
            return Unavailable(
                f"the store at {self.place} does not answer ({fault_code(error)}); is it up, and has room?"
            )
        return error

    async def close(self) -> None:
        await self._engine.dispose()


def migrating_engine(settings: StoreSettings) -> Engine:
    """Of the same database, without asyncio: for migrations, which run in a thread. Its transactions write."""
    url = database_url(settings)
    if url.get_backend_name() == "sqlite":
        url = url.set(drivername="sqlite")
    engine = create_engine(url, connect_args=_connect_args(url, settings), poolclass=NullPool)
    _prepare(engine, settings)
    return engine.execution_options(**{_WRITING: True})


def database_url(settings: StoreSettings) -> URL:
    """With the driver's name and the password. Raises ConfigError."""
    url = make_url(settings.url)
    if url.get_backend_name() == "sqlite":
        return url.set(drivername="sqlite+aiosqlite")
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "store.url: PostgreSQL needs its driver, which is not installed; pip install 'wardgate[postgres]'"
        ) from error
    if settings.password_file:
        url = url.set(password=_password(settings.password_file))
    return url.set(drivername="postgresql+psycopg")


def place(url: URL) -> str:
    """Where a database is, without user, password and options."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    host = url.host or "localhost"
    return f"postgresql://{f'[{host}]' if ':' in host else host}:{url.port or 5432}/{url.database or ''}"


def fault_code(error: SQLAlchemyError) -> str:
    """A database's own short word for a fault, such as SQLITE_FULL or 57P01."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    for name in ("sqlite_errorname", "sqlstate"):  # of sqlite3 and of psycopg, which may not be installed
        if code := getattr(cause, name, None):
            return str(code)
    return type(cause).__name__


def make_sqlite_file(file: Path) -> None:
    """For its owner alone: rows may hold what people wrote. Raises ConfigError where it cannot be."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise ConfigError(
            f"store.url: {file} cannot be written: {error.strerror}; let the service's user write to its folder, "
            "or set store.url to another place"
        ) from error


def _password(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip("\r\n")
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"store.password_file: {file} cannot be read as text ({type(error).__name__})") from error


def _connect_args(url: URL, settings: StoreSettings) -> dict[str, Any]:
    if url.get_backend_name() == "sqlite":
        return {"timeout": settings.connect_timeout_s}  # how long another writer is waited for
    return {
        "connect_timeout": max(2, round(settings.connect_timeout_s)),  # libpq counts whole seconds, from 2
        "options": _SERVER_OPTIONS,
        "tcp_user_timeout": _SILENT_PEER_MS,
        "application_name": "wardgate",
    } | dict(url.query)


def _prepare(engine: Engine, settings: StoreSettings) -> None:
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)


def _prepare_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # transactions begin where _begin_sqlite says so, not at the first write
    cursor = connection.cursor()
    # NORMAL: a killed process loses nothing; a power cut may lose the last commits, and never damages the file.
    for pragma in ("foreign_keys=ON", "synchronous=NORMAL"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    """A writer takes its lock at once: one that has read before could not wait for it any more."""
    options = connection.get_execution_options()
    if options.get("isolation_level") == "AUTOCOMMIT":
        return
    writing = options.get(_WRITING, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


def refuse_to_open(where: str, error: SQLAlchemyError) -> WardgateError:
    """Why a database cannot be opened, with the mend."""
    if isinstance(error, DBAPIError) and fault_code(error) == "SQLITE_NOTADB":
        return ConfigError(f"store.url: {where} is no SQLite database; set store.url to another file")
    said = str(error.orig if isinstance(error, DBAPIError) else error).strip().split("\n")[0]
    return Unavailable(f"store.url: {where} cannot be opened: {said}")
