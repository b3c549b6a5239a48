"""Every test that asks for `settings` runs on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from service.config import StoreSettings
from service.store.store import Store
from tests.postgres import PostgresServer, binaries, running_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    programs = binaries()
    if programs is None:
        reason = "no PostgreSQL server is installed here: apt-get install postgresql"
        if os.environ.get("CI"):
            pytest.fail(reason)  # .ci/run installs it; a check that leaves it out would say nothing
        pytest.skip(reason)
    with running_postgres(programs) as server:
        yield server


@pytest.fixture
def postgres_settings(postgres: PostgresServer, tmp_path: Path) -> StoreSettings:
    postgres.empty()
    password = tmp_path / "password"
    password.write_text(postgres.password + "\n")
    return StoreSettings(url=postgres.url, password_file=password)


@pytest.fixture
def sqlite_settings(tmp_path: Path) -> StoreSettings:
    return StoreSettings(url=f"sqlite:///{tmp_path}/folder/wardgate.db")


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest) -> StoreSettings:
    found: StoreSettings = request.getfixturevalue(
        "sqlite_settings" if request.param == "sqlite" else "postgres_settings"
    )
    return found


@pytest.fixture
async def store(settings: StoreSettings) -> AsyncIterator[Store]:
    opened = await Store.open(settings)
    yield opened
    await opened.close()
