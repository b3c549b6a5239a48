"""The database's revision: migrations run when the store opens, once, whoever comes first.

Alembic keeps its state in module globals, hence threads and one lock instead of asyncio.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path

from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from guards.errors import ConfigError
from service.config import StoreSettings
from service.store.engine import database_url, fault_code, make_sqlite_file, migrating_engine, place, refuse_to_open

MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK_KEY = 0x57415244  # of PostgreSQL's advisory lock: "WARD"
_BUSY_PAUSE_S = 0.02

_alembic = threading.Lock()


@dataclass(frozen=True, slots=True)
class Revisions:
    """`current` is empty for a database without tables. `known`: whether this program has that revision."""

    place: str
    current: str
    newest: str
    known: bool


def revisions(settings: StoreSettings) -> Revisions:
    """As they are; makes and changes nothing. Raises ConfigError or Unavailable."""
    url = database_url(settings)
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists():
        return Revisions(place(url), "", _scripts().get_current_head() or "", True)
    engine = migrating_engine(settings)
    try:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            return _revisions(connection, place(url))
    except SQLAlchemyError as error:
        raise refuse_to_open(place(url), error) from error


def migrate(settings: StoreSettings) -> Revisions:
    """Brings the database to the newest revision, and says which it had. Raises ConfigError or Unavailable."""
    url = database_url(settings)
    engine = migrating_engine(settings)
    if engine.dialect.name == "sqlite":
        make_sqlite_file(Path(str(url.database)))
    try:
        if engine.dialect.name == "sqlite":
            _keep_wal(engine, settings.connect_timeout_s, place(url))
        with _alembic, engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                _wait_for_the_other_replicas(connection)
            before = _upgrade(connection, place(url))
    except SQLAlchemyError as error:
        raise refuse_to_open(place(url), error) from error
    return before


def _upgrade(connection: Connection, where: str) -> Revisions:
    scripts = _scripts()
    before = _revisions(connection, where)
    if not before.known:
        raise ConfigError(
            f"store.url: {where} is at revision {before.current}, which this program does not know: a newer wardgate "
            "made it; run that one, or restore the backup from before"
        )
    context = MigrationContext.configure(
        connection, opts={"fn": lambda revision, _: scripts._upgrade_revs("head", revision)}
    )
    with Operations.context(context):
        context.run_migrations()
    return before


def _revisions(connection: Connection, where: str) -> Revisions:
    scripts = _scripts()
    current = MigrationContext.configure(connection).get_current_revision() or ""
    known = {script.revision for script in scripts.walk_revisions()} | {""}
    return Revisions(where, current, scripts.get_current_head() or "", current in known)


def _scripts() -> ScriptDirectory:
    return ScriptDirectory(str(MIGRATIONS))


def _wait_for_the_other_replicas(connection: Connection) -> None:
    connection.execute(text("SET LOCAL lock_timeout = '5min'"))
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})


def _keep_wal(engine: Engine, patience_s: float, where: str) -> None:
    """Readers and one writer side by side; the file remembers it. SQLite does not wait for others here by itself."""
    give_up = time.monotonic() + patience_s
    while True:
        try:
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                mode = connection.exec_driver_sql("PRAGMA journal_mode=WAL").scalar_one()
            break
        except OperationalError as error:
            if fault_code(error) != "SQLITE_BUSY" or time.monotonic() > give_up:
                raise
            time.sleep(_BUSY_PAUSE_S)
    if mode != "wal":
        raise ConfigError(
            f"store.url: the disk of {where} keeps no write-ahead log ({mode} instead); a network disk is no place for "
            "SQLite: take a local one, or PostgreSQL"
        )
