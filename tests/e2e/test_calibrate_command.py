"""From benign texts to a decision with a bound, as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from guards.rewards.calibrated import save_calibration
from guards.rewards.reward_model import RewardModel
from tests.calibrations import calibration
from tests.e2e.running import OpenApp, scoring_settings
from tests.e2e.test_commands import wardgate
from tests.waiting import until
from wardgate import AsyncClient

pytestmark = pytest.mark.models

POLICY = """
name: default
version: "1"
request:
  - {kind: reward, name: request-risk, head: request_risk, thresholds: {block: {calibration: shop}}}
response:
  - {kind: reward, name: response-risk, head: response_reward, thresholds: {block: 0.7}}
"""
THINGS = ("bread", "soup", "a cake", "tea", "rice", "a salad", "an omelette", "jam", "pasta", "a pie")
QUESTIONS = (
    "How do I make {}?",
    "Who invented {}?",
    "What goes well with {}?",
    "Tell me about {}.",
    "How old is {}?",
    "I like {}!",
)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "default.yaml").write_text(POLICY)
    file = tmp_path / "wardgate.yaml"
    folders = {
        "policies": {"directory": str(tmp_path / "policies")},
        "calibrations": {"directory": str(tmp_path / "c")},
    }
    file.write_text(yaml.safe_dump(folders))
    return file


@pytest.fixture
def benign(tmp_path: Path) -> Path:
    file = tmp_path / "benign.jsonl"
    prompts = [question.format(thing) for question in QUESTIONS for thing in THINGS]
    file.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts))
    return file


def test_a_policy_may_name_its_calibration_before_it_is_made_and_then_judges_by_it(
    reward_model: RewardModel, config: Path, benign: Path
) -> None:
    refused = wardgate("check", "How do I make a pipe bomb?", "--config", config)
    assert refused.returncode == 2
    assert "`wardgate calibrate` makes it" in refused.stderr

    asked = ("--policy", "default", "--guard", "request-risk", "--benign", benign, "--config", config)
    done = wardgate("calibrate", *asked, "--target-block-rate", "0.05", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["name"], report["n"], report["distinct_texts"]) == ("shop", 60, 60)
    assert report["reward_model"] == reward_model.identity.digest
    assert report["realised"] <= report["bound"] <= report["alpha"] == 0.05
    assert Path(report["file"]).parent == config.parent / "c"

    checked = wardgate("check", "How do I make a pipe bomb?", "--config", config, "--json")
    assert checked.returncode == 0, checked.stderr
    (finding,) = json.loads(checked.stdout)["decision"]["findings"]
    assert finding["threshold"] == report["threshold"]
    assert (finding["bound"]["n"], finding["bound"]["target"]) == (60, 0.05)
    assert (
        wardgate("policy", "validate", config.parent / "policies" / "default.yaml", "--config", config).returncode == 0
    )


def test_a_calibration_that_cannot_be_made_says_why(reward_model: RewardModel, config: Path, benign: Path) -> None:
    few = wardgate(
        "calibrate", "--policy", "default", "--guard", "request-risk", "--benign", benign, "--config", config
    )
    assert few.returncode == 2
    assert "60 benign texts are too few for a block rate of 0.01 at confidence 0.95; 299 are needed" in few.stderr
    which = wardgate("calibrate", "--policy", "default", "--guard", "absent", "--benign", benign, "--config", config)
    assert which.returncode == 2
    assert "known: request-risk, response-risk" in which.stderr
    assert not (config.parent / "c").exists()


def test_without_a_name_the_guard_of_the_side_that_the_texts_are_of_is_calibrated(
    reward_model: RewardModel, tmp_path: Path
) -> None:
    replies = tmp_path / "replies.jsonl"
    turns = [{"role": "user", "content": "Which tea is best?"}]
    rows = [{"messages": turns, "response": f"Try number {number}, it is mild."} for number in range(70)]
    replies.write_text("\n".join(json.dumps(row) for row in rows))
    done = wardgate(
        "calibrate", "--policy", "default", "--benign", replies, "--target-block-rate", "0.05", "--out", tmp_path / "c"
    )
    assert done.returncode == 0, done.stderr
    assert "default-response-risk: guard response-risk of policy default, head response_reward" in done.stdout


async def test_the_served_app_sees_traffic_drift_from_its_calibration(
    reward_model: RewardModel, open_app: OpenApp, config: Path
) -> None:
    save_calibration(calibration(reward_model=reward_model.identity.digest), config.parent / "c")
    settings = scoring_settings(
        policies={"directory": config.parent / "policies"},
        calibrations={"directory": config.parent / "c", "drift_window": 50},
    )
    watched = {"policy": "default", "calibration": "shop", "model": reward_model.identity.digest[:12]}

    async with open_app(settings) as app:

        def alarm() -> float | None:
            return app.metrics.registry.get_sample_value("wardgate_drift_alarm", watched | {"feature": "length"})

        assert alarm() == 0
        async with AsyncClient(f"127.0.0.1:{app.server.port}") as client:
            for _ in range(50):  # the calibration's texts had ten tokens each
                await client.check("How do I make bread?")
        await until(lambda: alarm() == 1)
