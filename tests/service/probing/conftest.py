from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.processes import environment
from service.app import App
from service.config import Settings
from tests.service.probing.suites import settings_for, write_outcomes
from tests.service.rollout.conftest import open_app, template, versions
from tests.service.rollout.versions import ADMIN, Versions
from tests.waiting import until
from wardgate import AsyncClient

__all__ = ["open_app", "template", "versions"]


@dataclass
class Probed:
    """An app whose probes are done by a fake worker, and the folder that steers that."""

    app: App
    client: AsyncClient
    folder: Path

    def open_gate(self) -> None:
        (self.folder / "gate").touch()

    @property
    def units(self) -> list[str]:
        """Every unit that any process did."""
        return sorted(file.name.split("-")[1] for file in self.folder.glob("unit-*"))

    @property
    def processes(self) -> int:
        return len(list(self.folder.glob("pid-*")))

    def sample(self, name: str, **labels: str) -> float:
        return self.app.metrics.registry.get_sample_value(name, labels) or 0.0


Probe = Callable[..., AbstractAsyncContextManager[Probed]]


@pytest.fixture
def probed(versions: Versions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Probe:
    """Opens an app over one store and one folder; several may be open at once."""
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    folder = tmp_path / "fake"
    folder.mkdir()
    write_outcomes(folder)
    command = (sys.executable, "-m", "tests.service.probing.fake_worker", str(folder))

    @asynccontextmanager
    async def running(settings: Settings | None = None) -> AsyncIterator[Probed]:
        app = App(settings or settings_for(versions), probe_worker=command)
        stop = asyncio.Event()
        task = asyncio.create_task(app.run(stop))
        try:
            await until(lambda: app.server.port != 0 or task.done(), within_s=120)
            async with AsyncClient(f"127.0.0.1:{app.server.port}", token=ADMIN, timeout=60) as client:
                yield Probed(app, client, folder)
        finally:
            stop.set()
            await task

    return running
