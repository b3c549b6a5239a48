"""Traffic that no longer looks like its calibration: seen, told, and by the policy's choice closed."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from guards.rewards.calibrated import save_calibration
from service.config import CalibrationSettings
from tests.calibrations import CALIBRATED_POLICY, StatedRisk, calibration, usual_risk
from tests.fakes import FakeBackend, Running, ask, running_server, user, write_policy
from tests.waiting import until
from wardgate.v1 import decision_pb2 as decisions
from wardgate.v1 import guardrail_pb2 as guardrail

WINDOW = 60
WATCHED = {"policy": "default", "calibration": "shop", "model": "f" * 12}


@asynccontextmanager
async def calibrated_server(folder: Path, more: str = "") -> AsyncIterator[Running]:
    policies, calibrations = folder / "policies", folder / "calibrations"
    policies.mkdir()
    write_policy(policies, CALIBRATED_POLICY + more)
    save_calibration(calibration(), calibrations)
    settings = CalibrationSettings(directory=calibrations, drift_window=WINDOW)
    async with running_server(policies, StatedRisk(), FakeBackend(["0.1"]), calibrations=settings) as server:
        yield server


def windows(server: Running) -> float:
    return sum(
        server.metric("wardgate_drift_windows_total", policy="default", calibration="shop", result=result)
        for result in ("alike", "rejected")
    )


def alarms(server: Running) -> set[str]:
    features = ("risk", "length", "script")
    return {name for name in features if server.metric("wardgate_drift_alarm", **WATCHED, feature=name)}


async def send_a_window(server: Running, risk: Callable[[], float], words: str = "risk") -> None:
    compared = windows(server)
    for _ in range(WINDOW):
        await server.check(ask(f"{words} {risk()}"))
    await until(lambda: windows(server) == compared + 1)


async def test_traffic_that_drifts_fails_closed_and_opens_again_when_it_is_as_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    generator = np.random.default_rng(2)
    async with calibrated_server(tmp_path, "    on_drift: fail_closed\n") as server:
        await send_a_window(server, lambda: usual_risk(generator))
        assert alarms(server) == set()
        assert (await server.check(ask("risk 0.02"))).decision.action == decisions.ACTION_ALLOW

        for _ in range(2):
            await send_a_window(server, lambda: 0.4 + usual_risk(generator) / 2)
        assert alarms(server) == {"risk"}
        assert server.metric("wardgate_drift_statistic", **WATCHED, feature="risk", test="psi") > 0.5
        assert server.metric("wardgate_drift_statistic", **WATCHED, feature="risk", test="p_value") < 0.001
        closed = await server.check(ask("risk 0.02"))
        assert closed.decision.action == decisions.ACTION_BLOCK
        assert closed.decision.cause == decisions.CAUSE_GUARD_FAILURE
        assert server.metric("wardgate_fail_closed_total", guard="request-risk", error_type="guard") > 0

        for expected in ({"risk"}, set()):  # it takes two quiet windows
            await send_a_window(server, lambda: usual_risk(generator))
            assert alarms(server) == expected
        assert (await server.check(ask("risk 0.02"))).decision.action == decisions.ACTION_ALLOW
    told = [record.getMessage() for record in caplog.records if record.name == "service.drift"]
    assert told == ["traffic drifted from its calibration", "traffic looks like its calibration again"]


async def test_drift_only_warns_by_default_and_the_bound_is_no_longer_claimed(tmp_path: Path) -> None:
    async with calibrated_server(tmp_path) as server:
        before = await server.check(ask("risk 0.8"))
        await send_a_window(server, lambda: 0.3)
        after = await server.check(ask("risk 0.8"))
        passed = await server.check(ask("risk 0.3"))
        assert alarms(server) == {"risk"}
    assert before.decision.findings[0].HasField("bound")
    assert after.decision.action == decisions.ACTION_BLOCK
    assert not after.decision.findings[0].HasField("bound")
    assert passed.decision.action == decisions.ACTION_ALLOW


async def test_another_script_is_drift_too_and_requests_are_counted_by_it(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    async with calibrated_server(tmp_path) as server:
        await send_a_window(server, lambda: usual_risk(generator), "насколько это опасно")
        assert alarms(server) == {"script"}
        assert server.metric("wardgate_requests_by_language_total", lang="cyrillic") == WINDOW


async def test_the_window_that_is_filling_shows_and_only_texts_of_the_policy_fill_it(tmp_path: Path) -> None:
    async with calibrated_server(tmp_path) as server:
        assert server.metric("wardgate_drift_window_samples", **WATCHED) == 0
        write_policy(tmp_path / "policies", CALIBRATED_POLICY.replace("name: default", "name: other"), "other.yaml")
        server.policies.reload()
        await server.check(ask("risk 0.1"))
        await server.check(ask("risk 0.1", "0.2", "0.3"))
        await server.generate(guardrail.GenerateRequest(messages=[user("risk 0.1")]))
        await server.check(ask("risk 0.1", policy="other"))
        assert server.metric("wardgate_drift_window_samples", **WATCHED) == 3
        assert server.metric("wardgate_drift_window_samples", **(WATCHED | {"policy": "other"})) == 1


async def test_a_reload_keeps_the_watch_and_a_new_calibration_starts_afresh(tmp_path: Path) -> None:
    async with calibrated_server(tmp_path, "    on_drift: fail_closed\n") as server:
        await send_a_window(server, lambda: 0.3)
        write_policy(tmp_path / "policies", CALIBRATED_POLICY + "    on_drift: fail_closed\n# a remark\n")
        server.policies.reload()
        assert alarms(server) == {"risk"}
        assert (await server.check(ask("risk 0.1"))).decision.action == decisions.ACTION_BLOCK
        newer = calibration(created=calibration().created.replace(microsecond=1))
        save_calibration(newer, tmp_path / "calibrations")
        server.policies.reload()
        assert alarms(server) == set()
        assert (await server.check(ask("risk 0.1"))).decision.action == decisions.ACTION_ALLOW


async def test_nothing_of_a_text_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with calibrated_server(tmp_path) as server:
        await send_a_window(server, lambda: 0.3, "canary-word")
        assert "canary" not in server.metrics.render().decode()
    assert "canary" not in caplog.text
