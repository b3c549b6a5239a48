"""The real process of the probes, on real models."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import yaml

from bench.processes import environment, free_port
from guards.errors import ModelError
from service.config import load_settings
from service.reward_models import open_reward_model
from tests.service.probing.suites import TINY, TINY_UNITS, settings_for, write_suite
from tests.service.rollout.versions import ADMIN, Versions
from tests.waiting import until
from wardgate import AsyncClient, WardgateError
from wardgate.v1.probe_pb2 import PROBE_RUN_STATE_DONE, ProbeRun

SLOW_S = 600.0


@pytest.fixture
def embedded() -> None:
    try:
        open_reward_model(load_settings(None))
    except ModelError as error:
        pytest.skip(f"the embedded models are not in the cache: {error}")


@contextmanager
def serving(config: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as output:
        command = [sys.executable, "-m", "service", "serve", "--config", str(config)]
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment())
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def config_in(folder: Path, port: int) -> Path:
    (folder / "suites").mkdir()
    write_suite(folder / "suites", "tiny", TINY)
    (folder / "admins").write_text(ADMIN)
    settings = {
        "grpc": {"port": port, "admin_tokens_file": str(folder / "admins")},
        "http": {"port": 0},
        "backend": {"kind": "none"},
        "scoring": {"workers": 1, "lone_threads": 1},
        "store": {"url": f"sqlite:///{folder}/store.db"},
        "probing": {"suites": str(folder / "suites"), "lease_s": 2},
    }
    file = folder / "wardgate.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


async def run_of(client: AsyncClient, run: str) -> ProbeRun | None:
    try:
        return await client.get_probe_run(run)
    except WardgateError:
        return None  # not up yet


async def run_when(client: AsyncClient, run: str, holds: Callable[[ProbeRun], bool]) -> ProbeRun:
    """Over restarts of the server."""
    async with asyncio.timeout(SLOW_S):
        while (found := await run_of(client, run)) is None or not holds(found):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return found


def has_ended(run: ProbeRun) -> bool:
    return bool(run.finished_at.seconds)


@pytest.mark.models
@pytest.mark.usefixtures("embedded")
async def test_a_service_killed_in_the_midst_of_a_run_goes_on_after_its_restart(tmp_path: Path) -> None:
    port = free_port()
    config, log = config_in(tmp_path, port), tmp_path / "log"
    async with AsyncClient(f"127.0.0.1:{port}", token=ADMIN, timeout=60) as client:
        with serving(config, log) as first:
            async with asyncio.timeout(SLOW_S):
                while not await client.healthy():  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            run = (await client.start_probe_run("tiny")).id
            await run_when(client, run, lambda now: now.units_done > 0)
            (child,) = psutil.Process(first.pid).children()
            os.kill(child.pid, signal.SIGSTOP)  # it must die even so
            os.kill(first.pid, signal.SIGKILL)
            await until(lambda: not psutil.pid_exists(child.pid) or child.status() == psutil.STATUS_ZOMBIE, SLOW_S)
        with serving(config, log):
            last = await run_when(client, run, has_ended)
    assert last.state == PROBE_RUN_STATE_DONE
    assert (last.units_done, last.units_total) == (TINY_UNITS, TINY_UNITS)
    tried = {(row.kind, row.parameters["transformation"].text): row for row in last.results}
    assert len(tried) == 4
    for (kind, _), row in tried.items():
        assert row.trials + sum(row.skipped.values()) == (16 if kind == 1 else 8)


async def test_a_real_process_does_a_run_and_is_gone(versions: Versions, open_app, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    async with open_app(settings_for(versions)) as app:
        async with AsyncClient(f"127.0.0.1:{app.server.port}", token=ADMIN, timeout=60) as client:
            run = (await client.start_probe_run("tiny")).id
            await until(lambda: app.probing.runner.process is not None, within_s=SLOW_S)
            child = psutil.Process(app.probing.runner.process.pid)
            last = await run_when(client, run, has_ended)
        digest = app.rollout.standing.active.digest
        await until(lambda: not child.is_running(), within_s=SLOW_S)
    assert (last.state, last.error) == (PROBE_RUN_STATE_DONE, "")
    assert last.units_done == TINY_UNITS
    assert last.digests["reward_model"] == digest
    assert set(last.digests) == {"suite", "policy", "normalizer", "reward_model"}
