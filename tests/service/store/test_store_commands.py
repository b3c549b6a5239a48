from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.__main__ import main
from service.config import StoreSettings
from service.store.store import Store
from tests.service.store.test_probe_runs import a_run, done, kept
from tests.service.store.test_schema import NEWER, execute


@pytest.fixture
def config(settings: StoreSettings, tmp_path: Path) -> str:
    file = tmp_path / "wardgate.yaml"
    file.write_text(json.dumps({"store": settings.model_dump(mode="json")}))
    return str(file)


def test_status_tells_an_empty_database_and_makes_none(
    config: str, settings: StoreSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["store", "status", "--config", config]) == 3
    assert "empty, revision none of" in capsys.readouterr().out
    if settings.url.startswith("sqlite"):
        assert not Path(settings.url.removeprefix("sqlite:///")).exists()


def test_migrate_says_what_it_did_and_status_counts_runs(
    config: str, settings: StoreSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fill() -> None:
        store = await Store.open(settings)
        await done(store, a_run())
        await kept(store, a_run())
        await kept(store, a_run())
        await store.close()

    assert main(["store", "migrate", "--config", config]) == 0
    assert "migrated from nothing" in capsys.readouterr().out
    assert main(["store", "migrate", "--config", config]) == 0
    assert "was up to date" in capsys.readouterr().out
    asyncio.run(fill())
    assert main(["store", "status", "--config", config, "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert (status["state"], status["runs"]) == ("up to date", {"DONE": 1, "PENDING": 2})
    assert status["revision"] == status["newest_revision"]


def test_status_tells_a_newer_database_and_migrate_refuses_it(
    config: str, settings: StoreSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["store", "migrate", "--config", config])
    execute(settings, f"UPDATE alembic_version SET version_num = '{NEWER}'")
    capsys.readouterr()
    assert main(["store", "status", "--config", config]) == 3
    assert "newer than this program" in capsys.readouterr().out
    assert main(["store", "migrate", "--config", config]) == 2
    assert "store.url" in capsys.readouterr().err


def test_settings_and_the_command_line_load_no_database() -> None:
    code = (
        "import sys, service.config, service.__main__\nservice.__main__._parser()\n"
        "print(sorted({'sqlalchemy', 'alembic', 'psycopg', 'aiosqlite'} & set(sys.modules)))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert run.stdout.strip() == "[]"
