from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from guards.errors import ConfigError, Unavailable
from service.config import StoreSettings
from service.store.engine import migrating_engine
from service.store.schema import _scripts, migrate, revisions
from service.store.store import Store
from service.store.tables import Base
from tests.service.store.test_probe_runs import a_run, kept

NEWER = "ffff"


def execute(settings: StoreSettings, statement: str) -> None:
    with migrating_engine(settings).begin() as connection:
        connection.execute(text(statement))


def test_migrations_from_nothing_make_the_tables_that_the_program_uses(settings: StoreSettings) -> None:
    """Alembic compares tables, columns, types and constraints."""
    assert revisions(settings).current == ""
    migrate(settings)
    with migrating_engine(settings).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
        expected = {table: {index.name for index in made.indexes} for table, made in Base.metadata.tables.items()}
        found = inspect(connection)
        assert {table: {index["name"] for index in found.get_indexes(table)} for table in expected} == expected
        assert found.get_foreign_keys("probe_units")[0]["options"]["ondelete"] == "CASCADE"


def test_migrations_are_one_line_from_the_first_to_the_newest() -> None:
    scripts = _scripts()
    assert len(scripts.get_heads()) == 1
    assert len(scripts.get_bases()) == 1


def test_migrating_again_changes_nothing(settings: StoreSettings) -> None:
    first, second = migrate(settings), migrate(settings)
    assert (first.current, second.current, second.newest) == ("", first.newest, first.newest)


async def test_replicas_that_start_together_migrate_once(settings: StoreSettings) -> None:
    stores = await asyncio.gather(*(Store.open(settings) for _ in range(6)))
    run = await kept(stores[0], a_run())
    for store in stores:
        assert await store.probe_runs.get(run.id) == run
        await store.close()


def test_processes_that_start_together_migrate_once(settings: StoreSettings) -> None:
    code = (
        "import sys\nfrom service.config import StoreSettings\nfrom service.store.schema import migrate\n"
        "settings = StoreSettings.model_validate_json(sys.argv[1])\n"
        "print('ready', file=sys.stderr, flush=True)\nsys.stdin.readline()\nmigrate(settings)\n"
    )
    command = [sys.executable, "-c", code, settings.model_dump_json()]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with contextlib.ExitStack() as started:
        processes = [
            started.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
            )
            for _ in range(3)
        ]
        for process in processes:  # each is ready when it says so
            assert process.stdin
            assert process.stderr
            assert process.stderr.readline() == b"ready\n"
        for process in processes:
            process.stdin.write(b"go\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
        for process in processes:
            _, errors = process.communicate(timeout=120)
            assert (process.returncode, errors.decode()) == (0, "")
    found = revisions(settings)
    assert found.current == found.newest


async def test_a_database_of_a_newer_program_is_refused_and_left_alone(settings: StoreSettings) -> None:
    migrate(settings)
    execute(settings, f"UPDATE alembic_version SET version_num = '{NEWER}'")
    with pytest.raises(ConfigError, match=f"revision {NEWER}.*newer wardgate"):
        await Store.open(settings)
    assert (revisions(settings).current, revisions(settings).known) == (NEWER, False)


async def test_a_folder_that_cannot_be_written_is_named_with_the_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"store\.url: .*/file/wardgate\.db cannot be written.*set store\.url"):
        await Store.open(StoreSettings(url=f"sqlite:///{tmp_path}/file/wardgate.db"))


async def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("not a database, but long enough to look like one: " * 100)
    with pytest.raises(ConfigError, match=r"notes\.db is no SQLite database"):
        await Store.open(StoreSettings(url=f"sqlite:///{tmp_path}/notes.db"))


def test_a_new_sqlite_file_is_its_owners_alone_and_keeps_a_write_ahead_log(sqlite_settings: StoreSettings) -> None:
    file = Path(migrate(sqlite_settings).place)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    connection = sqlite3.connect(file)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


async def test_a_sqlite_file_that_stays_locked_is_told_and_not_waited_for(sqlite_settings: StoreSettings) -> None:
    migrate(sqlite_settings)
    holder = sqlite3.connect(sqlite_settings.url.removeprefix("sqlite:///"), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="database is locked"):
        await Store.open(sqlite_settings.model_copy(update={"connect_timeout_s": 0.1}))
    holder.execute("ROLLBACK")
    holder.close()


async def test_a_server_that_is_not_there_is_told_without_the_password(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("canary-secret")
    url = "postgresql://someone@127.0.0.1:1/wardgate"
    with pytest.raises(Unavailable, match=r"postgresql://127\.0\.0\.1:1/wardgate cannot be opened") as refusal:
        await Store.open(StoreSettings(url=url, password_file=tmp_path / "password"))
    assert "canary-secret" not in str(refusal.value)


async def test_a_wrong_password_is_told_and_not_shown(postgres_settings: StoreSettings, tmp_path: Path) -> None:
    (tmp_path / "wrong").write_text("canary-secret")
    with pytest.raises(Unavailable, match="password authentication failed") as refusal:
        await Store.open(postgres_settings.model_copy(update={"password_file": tmp_path / "wrong"}))
    assert "canary-secret" not in str(refusal.value)
    with pytest.raises(ConfigError, match=r"store\.password_file"):
        await Store.open(postgres_settings.model_copy(update={"password_file": tmp_path / "missing"}))


async def test_without_the_driver_of_postgresql_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError, match=r"pip install 'wardgate\[postgres\]'"):
        await Store.open(StoreSettings(url="postgresql://u@127.0.0.1/wardgate"))
