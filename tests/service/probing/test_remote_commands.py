"""`wardgate probe start|runs|status|pause|resume|cancel` as an operator types it, against a running server."""

from __future__ import annotations

import asyncio
import json

import pytest

from service.__main__ import main
from tests.service.probing.conftest import Probe, Probed
from tests.service.rollout.versions import Versions
from tests.waiting import until


async def probe(service: Probed, versions: Versions, *arguments: str) -> int:
    place = ["--server", f"127.0.0.1:{service.app.server.port}", "--token-file", str(versions.admin_tokens)]
    return await asyncio.to_thread(main, ["probe", *arguments, *place])


async def test_an_operator_starts_steers_and_reads_runs(
    probed: Probe, versions: Versions, capsys: pytest.CaptureFixture[str]
) -> None:
    async with probed() as service:
        assert await probe(service, versions, "start", "tiny") == 0
        run = capsys.readouterr().out.split()[0]
        await until(lambda: len(service.units) == 3, within_s=120)
        assert await probe(service, versions, "pause", run) == 0
        assert "paused" in capsys.readouterr().out
        assert await probe(service, versions, "resume", run) == 0
        assert await probe(service, versions, "cancel", run) == 0
        assert "cancelled" in capsys.readouterr().out
        service.open_gate()
        assert await probe(service, versions, "start", "tiny", "--wait", "--seed", "3") == 0
        waited = capsys.readouterr()
        assert await probe(service, versions, "runs", "--suite", "tiny") == 0
        latest, first = capsys.readouterr().out.splitlines()
        assert await probe(service, versions, "status", latest.split()[0], "--json") == 0
        document = json.loads(capsys.readouterr().out)
    assert "done" in waited.err
    assert "guard attack severity=0.5 transformation=base64: 6/6 = 100.0% [61.0%, 100.0%]" in waited.out
    assert "guard benign severity=0.5 transformation=base64: 1/6 = " in waited.out
    assert "skipped other: needs model" in waited.out
    assert (first.split()[0], first.split()[2], latest.split()[2]) == (run, "cancelled", "done")
    assert document["seed"] == "3"
    assert len(document["results"]) == 2


async def test_a_run_that_failed_is_told_and_so_is_what_is_refused(
    probed: Probe, versions: Versions, capsys: pytest.CaptureFixture[str]
) -> None:
    async with probed() as service:
        (service.folder / "refuse").touch()
        assert await probe(service, versions, "start", "tiny", "--wait") == 1
        assert "error: the policy is gone; put it back" in capsys.readouterr().out
        assert await probe(service, versions, "start", "nothing") == 2
        assert await probe(service, versions, "status", "nothing") == 2
    said = capsys.readouterr().err
    assert "there is no probe suite of that name; known: " in said
    assert "Traceback" not in said
