"""Policies whose thresholds are calibrations: looked up by the model that scored, and never silently void."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from guards.errors import ConfigError
from guards.rewards.calibrated import save_calibration
from guards.rewards.isotonic import Isotonic
from service.config import CalibrationSettings
from tests.calibrations import CALIBRATED_POLICY, NOW, StatedRisk, calibration
from tests.fakes import FAKE_MODEL, REWARD_POLICY, FakeScorer, Running, ask, running_server, write_policy
from wardgate.v1 import decision_pb2 as decisions

OTHER_MODEL = replace(FAKE_MODEL, digest="a" * 64)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, CalibrationSettings]:
    policies = tmp_path / "policies"
    policies.mkdir()
    write_policy(policies, CALIBRATED_POLICY)
    return policies, CalibrationSettings(directory=tmp_path / "calibrations")


def save(settings: CalibrationSettings, **changes: object) -> Path:
    assert settings.directory
    return save_calibration(calibration(**changes), settings.directory)


Folders = tuple[Path, CalibrationSettings]


async def test_the_calibrated_threshold_decides_and_the_finding_carries_its_bound(folders: Folders) -> None:
    policies, settings = folders
    save(settings)
    async with running_server(policies, StatedRisk(), calibrations=settings) as server:
        blocked = await server.check(ask("risk 0.7"))
        passed = await server.check(ask("risk 0.69999"))
        threshold = server.metric("wardgate_threshold", policy="default", head="request_risk", action="block")
    (finding,) = blocked.decision.findings
    assert blocked.decision.action == decisions.ACTION_BLOCK
    assert (finding.risk, finding.threshold) == (0.7, 0.7)
    assert (finding.bound.target, finding.bound.upper, finding.bound.n) == (0.01, 0.009, 1000)
    assert finding.bound.calibrated_at.seconds == int(calibration().created.timestamp())
    assert passed.decision.action == decisions.ACTION_ALLOW
    assert threshold == 0.7


async def test_a_threshold_that_is_a_number_carries_no_bound(folders: Folders) -> None:
    policies, settings = folders
    save(settings, threshold=0.95)
    async with running_server(policies, StatedRisk(), calibrations=settings) as server:
        (finding,) = (await server.check(ask("risk 0.92"))).decision.findings
    assert finding.action == decisions.ACTION_FLAG
    assert not finding.HasField("bound")


async def test_a_calibrations_own_risk_map_is_what_its_guard_judges_by(folders: Folders) -> None:
    policies, settings = folders
    # FakeScorer's rewards: about 3.9 for harmless words, 0.1 for a bomb
    save(settings, risk_map=Isotonic(rewards=(0.0, 4.0), risks=(1.0, 0.0)), threshold=0.25)
    async with running_server(policies, FakeScorer(), calibrations=settings) as server:
        harmless = await server.check(ask("hello"))
        knife = await server.check(ask("a knife"))
    assert harmless.decision.action == decisions.ACTION_ALLOW
    (finding,) = knife.decision.findings
    assert finding.action == decisions.ACTION_BLOCK
    assert finding.risk == pytest.approx(1 - finding.raw_reward / 4)


async def test_an_expired_calibration_fails_closed(folders: Folders, caplog: pytest.LogCaptureFixture) -> None:
    policies, settings = folders
    save(settings, created=NOW - timedelta(days=9), expires=NOW - timedelta(days=2))
    async with running_server(policies, StatedRisk(), calibrations=settings) as server:
        reply = await server.check(ask("risk 0.01"))
        closed = server.metric("wardgate_fail_closed_total", guard="request-risk", error_type="guard")
        expired = server.metric("wardgate_calibration_expired", calibration="shop", model="f" * 12)
    assert (reply.decision.action, reply.decision.cause) == (decisions.ACTION_BLOCK, decisions.CAUSE_GUARD_FAILURE)
    assert (closed, expired) == (1, 1)


async def test_an_expired_calibration_may_only_warn_and_then_promises_nothing(folders: Folders) -> None:
    policies, settings = folders
    write_policy(policies, CALIBRATED_POLICY + "    on_expired: warn\n")
    save(settings, created=NOW - timedelta(days=9), expires=NOW - timedelta(days=2))
    async with running_server(policies, StatedRisk(), calibrations=settings) as server:
        passed = await server.check(ask("risk 0.01"))
        blocked = await server.check(ask("risk 0.8"))
        expired = server.metric("wardgate_calibration_expired", calibration="shop", model="f" * 12)
    assert passed.decision.action == decisions.ACTION_ALLOW
    (finding,) = blocked.decision.findings
    assert (finding.action, finding.threshold) == (decisions.ACTION_BLOCK, 0.7)
    assert not finding.HasField("bound")
    assert expired == 1


async def test_each_model_has_its_own_calibration_of_the_name(folders: Folders) -> None:
    policies, settings = folders
    save(settings)
    save(settings, reward_model=OTHER_MODEL.digest, threshold=0.3)
    actions = []
    for model in (FAKE_MODEL, OTHER_MODEL):
        async with running_server(policies, StatedRisk(identity=model), calibrations=settings) as server:
            actions.append((await server.check(ask("risk 0.5"))).decision.action)
    assert actions == [decisions.ACTION_ALLOW, decisions.ACTION_BLOCK]


async def test_a_model_without_a_calibration_fails_closed(folders: Folders) -> None:
    policies, settings = folders
    save(settings)
    scorer = StatedRisk()
    async with running_server(policies, scorer, calibrations=settings) as server:
        assert (await server.check(ask("risk 0.01"))).decision.action == decisions.ACTION_ALLOW
        scorer.identity = OTHER_MODEL  # as when another version scores this request
        reply = await server.check(ask("risk 0.01"))
    assert (reply.decision.action, reply.decision.cause) == (decisions.ACTION_BLOCK, decisions.CAUSE_GUARD_FAILURE)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        (None, "no calibration 'shop' .known: none.; run `wardgate calibrate --name shop`"),
        ({"name": "other"}, "no calibration 'shop' .known: other."),
        ({"head": "response_reward"}, "calibration 'shop' is for head 'response_reward', not 'request_risk'"),
        ({"reward_model": "a" * 64}, "calibration 'shop' is for another reward model than ffffffffffff"),
        ({"normalizer": "0"}, "made with normalizer 0"),
    ],
)
async def test_a_policy_whose_calibration_is_missing_or_another_is_refused(
    folders: Folders, changes: dict[str, object] | None, fault: str
) -> None:
    policies, settings = folders
    assert settings.directory
    settings.directory.mkdir()
    if changes is not None:
        save(settings, **changes)
    with pytest.raises(ConfigError, match=fault):
        async with running_server(policies, calibrations=settings):
            pass


@pytest.mark.parametrize("directory", [None, "nowhere"])
async def test_a_calibration_without_its_directory_is_refused(tmp_path: Path, directory: str | None) -> None:
    write_policy(tmp_path, CALIBRATED_POLICY)
    settings = CalibrationSettings(directory=tmp_path / directory if directory else None)
    with pytest.raises(ConfigError, match=r"calibrations\.directory"):
        async with running_server(tmp_path, calibrations=settings):
            pass


async def test_a_new_calibration_takes_effect_and_its_figures_replace_the_old(folders: Folders) -> None:
    policies, settings = folders
    save(settings)
    async with running_server(policies, StatedRisk(), calibrations=settings) as server:
        assert (await server.check(ask("risk 0.5"))).decision.action == decisions.ACTION_ALLOW
        save(settings, threshold=0.4, n=2000, alpha=0.05, bound=0.04)
        server.policies.reload()
        blocked = await server.check(ask("risk 0.5"))
        assert blocked.decision.findings[0].bound.n == 2000
        assert figures(server) == {"samples": 2000, "target": 0.05, "upper": 0.04}
        assert server.metric("wardgate_policy_reloads_total", result="ok") == 2
        write_policy(policies, REWARD_POLICY)
        server.policies.reload()
        assert "wardgate_calibration_samples{" not in server.metrics.render().decode()


def figures(server: Running) -> dict[str, float]:
    guard = {"policy": "default", "guard": "request-risk", "model": "f" * 12}
    return {
        "samples": server.metric("wardgate_calibration_samples", calibration="shop", model="f" * 12),
        "target": server.metric("wardgate_risk_target", **guard),
        "upper": server.metric("wardgate_risk_upper_bound", **guard),
    }


async def test_a_damaged_or_deleted_calibration_leaves_the_one_before_in_force(
    folders: Folders, caplog: pytest.LogCaptureFixture
) -> None:
    policies, settings = folders
    file = save(settings)
    async with running_server(policies, StatedRisk(), calibrations=settings) as server:
        for spoil in (lambda: file.write_text("{"), file.unlink):
            spoil()
            server.policies.reload()
            blocked = await server.check(ask("risk 0.8"))
            assert blocked.decision.findings[0].bound.n == 1000
        assert server.metric("wardgate_policy_reloads_total", result="error") == 2
    assert all("risk 0.8" not in record.getMessage() for record in caplog.records)


async def test_two_files_of_one_calibration_are_refused(folders: Folders) -> None:
    policies, settings = folders
    file = save(settings)
    (file.parent / "copy.json").write_bytes(file.read_bytes())
    with pytest.raises(ConfigError, match="already is calibration 'shop' for the same reward model"):
        async with running_server(policies, calibrations=settings):
            pass


async def test_an_artefact_with_a_bound_above_its_target_is_refused(folders: Folders) -> None:
    policies, settings = folders
    file = save(settings)
    file.write_text(file.read_text().replace('"bound": 0.009', '"bound": 0.2'))
    with pytest.raises(ConfigError, match="the bound is above the target rate"):
        async with running_server(policies, calibrations=settings):
            pass


def test_saving_leaves_no_half_written_file_behind(tmp_path: Path) -> None:
    path = save_calibration(calibration(), tmp_path / "new" / "folder")
    again = save_calibration(calibration(threshold=0.5), tmp_path / "new" / "folder")
    assert path == again
    assert [file.name for file in path.parent.iterdir()] == ["shop.ffffffffffff.json"]
    assert '"threshold": 0.5' in path.read_text()
    with pytest.raises(ConfigError, match="cannot be written"):
        save_calibration(calibration(), path / "below-a-file")
