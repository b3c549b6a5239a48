from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from service.app import App
from service.config import Settings
from tests.fakes import write_policy
from tests.guards.rewards.tiny_model import write_encoder
from tests.service.rollout.versions import ADMIN, REQUEST_POLICY, Versions
from tests.waiting import until


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder and the configured version, made once."""
    root = tmp_path_factory.mktemp("rollout")
    write_encoder(root / "encoder")
    for folder in ("versions", "policies"):
        (root / folder).mkdir()
    write_policy(root / "policies", REQUEST_POLICY)
    (root / "admins").write_text(f"# operators\n{ADMIN}\n")
    Versions(root).add("1", root / "configured")
    return root


@pytest.fixture
def versions(template: Path, tmp_path: Path) -> Versions:
    root = tmp_path / "rollout"
    shutil.copytree(template, root)
    return Versions(root)


@pytest.fixture
def open_app() -> Callable[[Settings], AbstractAsyncContextManager[App]]:
    @asynccontextmanager
    async def running(settings: Settings) -> AsyncIterator[App]:
        app = App(settings)
        stop = asyncio.Event()
        task = asyncio.create_task(app.run(stop))
        try:
            await until(lambda: app.server.port != 0 or task.done(), within_s=60)
            yield app
        finally:
            stop.set()
            await task

    return running
