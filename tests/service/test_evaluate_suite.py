"""`wardgate evaluate suite` from a file of scores: no model, no training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from guards.learning.heldout import save_scores
from service.__main__ import main
from tests.guards.learning.synthetic_scores import synthetic_scores


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    path = tmp_path / "scores.jsonl.gz"
    save_scores(synthetic_scores(n=80), path)
    return path


def gate_file(folder: Path, at_least: float) -> Path:
    gate = {"name": "safe half", "head": "response_reward", "metric": "accuracy_safe", "at_least": at_least}
    path = folder / "gates.yaml"
    path.write_text(yaml.safe_dump({"gates": [gate]}))
    return path


def suite(*arguments: str | Path) -> int:
    return main(["evaluate", "suite", *map(str, arguments)])


def test_a_report_and_its_figures_are_written_from_scores(scores: Path, tmp_path: Path) -> None:
    html, figures = tmp_path / "new folder" / "report.html", tmp_path / "report.json"
    assert suite("--scores", scores, "--out", html, "--json", figures) == 0
    assert html.read_text().startswith("<!doctype html>")
    assert [head["head"] for head in json.loads(figures.read_text())["heads"]] == [
        "request_risk",
        "response_reward",
        "helpfulness",
    ]


def test_a_failed_gate_is_an_exit_code_only_on_request(
    scores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gates = gate_file(tmp_path, at_least=0.9)
    assert suite("--scores", scores, "--gate-file", gates) == 0
    assert capsys.readouterr().err == ""
    assert suite("--scores", scores, "--gate-file", gates, "--gate") == 3
    assert "safe half" in capsys.readouterr().err
    assert suite("--scores", scores, "--gate-file", gate_file(tmp_path, at_least=0.01), "--gate") == 0


def test_wrong_scores_and_gates_are_faults_of_input(
    tmp_path: Path, scores: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.jsonl.gz"
    broken.write_bytes(b"not scores")
    assert suite("--scores", broken) == 2
    assert "broken.jsonl.gz" in capsys.readouterr().err
    assert suite("--scores", scores, "--gate-file", tmp_path / "absent.yaml") == 2
    assert "absent.yaml" in capsys.readouterr().err
    assert suite("--seeds", "0") == 2
    assert "--seeds" in capsys.readouterr().err


def test_a_file_is_still_evaluated_by_a_head_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["evaluate", str(tmp_path / "rows.jsonl")])
    assert "--head" in capsys.readouterr().err
