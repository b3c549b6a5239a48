"""A calibrated threshold is a promise about one model: no other may decide by it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import grpc
import pytest

from guards.rewards.calibrated import save_calibration
from service.app import App
from service.config import CalibrationSettings, Settings
from service.rollout.loaded import KNOWN_UNSAFE
from tests.calibrations import calibration
from tests.fakes import write_policy
from tests.service.rollout.versions import ADMIN, REQUEST_POLICY, Versions
from tests.waiting import until
from wardgate import AsyncClient, WardgateError
from wardgate.v1.decision_pb2 import ACTION_BLOCK, CAUSE_POLICY

OpenApp = Callable[[Settings], AbstractAsyncContextManager[App]]
CALIBRATED = REQUEST_POLICY.replace("block: 0.8", "block: {calibration: shop}")


async def test_a_version_takes_a_role_only_once_it_has_the_calibration_of_every_policy(
    open_app: OpenApp, versions: Versions
) -> None:
    digest = versions.add("2")
    directory = versions.root / "calibrations"
    settings = versions.settings()
    active = await _digest_of_active(open_app, settings)
    save_calibration(calibration(guard="risk", reward_model=active, threshold=0.6), directory)
    write_policy(versions.policies, CALIBRATED)
    settings = settings.model_copy(update={"calibrations": CalibrationSettings(directory=directory)})
    async with open_app(settings) as app, AsyncClient(f"127.0.0.1:{app.server.port}", token=ADMIN) as client:
        with pytest.raises(WardgateError, match="calibration 'shop'") as refused:
            await client.set_rollout("2", "canary", percent=100)
        assert refused.value.code is grpc.StatusCode.FAILED_PRECONDITION
        save_calibration(calibration(guard="risk", reward_model=digest, threshold=0.7), directory)
        await until(lambda: any(len(p.request[0].guard.calibrated()) == 2 for p in app.policies.in_force))  # type: ignore[attr-defined]
        await client.set_rollout("2", "active")
        reply = await client.check(KNOWN_UNSAFE)
    assert reply.provenance.reward_model_digest == digest
    assert (reply.decision.action, reply.decision.cause) == (ACTION_BLOCK, CAUSE_POLICY)
    (finding,) = reply.decision.findings
    assert finding.threshold == 0.7
    assert finding.bound.n == 1000


async def _digest_of_active(open_app: OpenApp, settings: Settings) -> str:
    async with open_app(settings) as app:
        return app.rollout.standing.state.active
