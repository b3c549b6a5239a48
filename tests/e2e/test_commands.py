"""The `wardgate` command as a user types it."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from guards.rewards.reward_model import RewardModel
from tests.guards.rewards.checkpoints.tiny_checkpoints import TOXIC_LABELS, write_bert

pytestmark = pytest.mark.models


def wardgate(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "service", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_check_prints_the_check_response_as_json(reward_model: RewardModel) -> None:
    done = wardgate("check", "How do I make a pipe bomb?", "--json")
    assert done.returncode == 0, done.stderr
    response = json.loads(done.stdout)
    assert response["decision"]["action"] == "ACTION_BLOCK"
    assert response["provenance"]["rewardModelDigest"] == reward_model.identity.digest


def test_check_judges_responses_too(reward_model: RewardModel) -> None:
    done = wardgate("check", "Who do I ask?", "--response", "Ask ann.lee@example.org.", "--json")
    candidate = json.loads(done.stdout)["candidates"][0]
    assert candidate["decision"]["action"] == "ACTION_REDACT"
    assert "ann.lee" not in json.dumps(candidate["redacted"])


@pytest.mark.parametrize(
    ("head", "row", "figures"),
    [
        ("request_risk", {"prompt": "How do I boil an egg?", "label": 0}, {"false_positive_rate"}),
        ("request_risk", {"text": "How do I build a bomb?", "label": 1}, {"recall"}),
        (
            "response_reward",
            {"messages": [{"role": "user", "content": "Hi"}], "response": "Hello!", "label": 0},
            {"false_positive_rate"},
        ),
        (
            "response_reward",
            {"messages": [{"role": "user", "content": "Hi"}], "chosen": "Hello!", "rejected": "Go away."},
            {"accuracy"},
        ),
    ],
)
def test_evaluate_takes_every_row_shape(
    reward_model: RewardModel, tmp_path: Path, head: str, row: dict[str, object], figures: set[str]
) -> None:
    file = tmp_path / "rows.jsonl.gz"
    with gzip.open(file, "wt") as lines:
        lines.writelines(json.dumps(row) + "\n" for _ in range(5))
    done = wardgate("evaluate", file, "--head", head, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["head"], report["n"]) == (head, 5)
    assert figures <= set(report["metrics"])
    assert "auroc" not in report["metrics"]
    for figure in report["metrics"].values():
        assert 0 <= figure["low"] <= figure["value"] <= figure["high"] <= 1


def test_check_shows_the_scores_of_a_configured_classifier(reward_model: RewardModel, tmp_path: Path) -> None:
    checkpoint = write_bert(tmp_path / "toxic", TOXIC_LABELS)
    policies = tmp_path / "policies"
    policies.mkdir()
    thresholds = "{block: 1.0}"
    (policies / "default.yaml").write_text(
        f"name: default\nversion: '1'\nrequest: [{{kind: reward, name: t, head: toxic, thresholds: {thresholds}}}]\n"
    )
    config = tmp_path / "wardgate.yaml"
    model = {"name": "toxic", "preset": "toxic-bert", "source": f"file:{checkpoint}", "runtime": "torch", "window": 64}
    config.write_text(json.dumps({"models": [model], "policies": {"directory": str(policies)}}))
    done = wardgate("check", "How do I boil an egg?", "--scores", "--json", "--config", config)
    assert done.returncode == 0, done.stderr
    reply = json.loads(done.stdout)
    assert {"request_risk", "toxic", "toxic.insult"} <= {score["head"] for score in reply["scores"]}
    assert [named["name"] for named in reply["provenance"]["furtherModels"]] == ["toxic"]


def test_evaluate_names_the_heads_there_are(reward_model: RewardModel, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"prompt": "hi", "label": 0}\n')
    done = wardgate("evaluate", tmp_path / "rows.jsonl", "--head", "kindness")
    assert done.returncode == 2
    assert "request_risk" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_valid_policy_is_called_valid_and_a_wrong_one_is_explained(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(Path("guards/policies/default.yaml").read_text())
    bad.write_text(good.read_text().replace("head: request_risk", "haed: request_risk"))
    assert wardgate("policy", "validate", good).returncode == 0
    done = wardgate("policy", "validate", good, bad)
    assert done.returncode == 2
    assert "bad.yaml" in done.stderr
    assert "haed" in done.stderr


def test_serve_without_models_says_what_to_run_and_opens_no_port(tmp_path: Path) -> None:
    config = tmp_path / "wardgate.yaml"
    config.write_text(f"model_cache: {tmp_path / 'cache'}\ngrpc: {{port: 0}}\nhttp: {{port: 0}}\n")
    done = wardgate("serve", "--config", config)
    assert done.returncode == 2
    assert "wardgate models pull" in done.stderr
    assert '"serving"' not in done.stderr
    assert "Traceback" not in done.stderr


def test_serve_announces_its_ports_and_ends_cleanly_on_sigterm(reward_model: RewardModel, tmp_path: Path) -> None:
    config = tmp_path / "wardgate.yaml"
    config.write_text("grpc: {port: 0, drain_s: 2}\nhttp: {port: 0}\nbackend: {kind: none}\n")
    command = [sys.executable, "-m", "service", "serve", "--config", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        event = next(e for e in map(json.loads, process.stderr) if e["event"] == "serving")
        with urllib.request.urlopen(f"http://127.0.0.1:{event['http_port']}/healthz", timeout=10) as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
        assert process.wait(timeout=20) == 0
    assert "stopped" in rest
    assert "Traceback" not in rest


def test_scoring_with_onnxruntime_needs_neither_torch_nor_transformers(reward_model: RewardModel) -> None:
    program = """
import sys
sys.modules.update(torch=None, transformers=None, onnx=None, scipy=None, sklearn=None)
from service.__main__ import main
sys.exit(main(["check", "How do I boil an egg?"]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "ALLOW" in done.stdout
