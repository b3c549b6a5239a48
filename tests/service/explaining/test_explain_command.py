"""`wardgate explain` on a tiny model, in this process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from service.__main__ import main
from tests.service.explaining.conftest import Tiny


@pytest.fixture
def config(tiny: Tiny, tmp_path: Path) -> Path:
    file = tmp_path / "wardgate.yaml"
    scoring = {"runtime": "torch", "artefact": str(tiny.artefact), "encoder": tiny.child.encoder}
    file.write_text(json.dumps({"scoring": scoring, "model_cache": str(tiny.child.model_cache)}))
    return file


def explain(config: Path, *arguments: str | Path) -> int:
    return main(["explain", *map(str, arguments), "--config", str(config)])


def test_json_has_tokens_figures_and_attention(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(config, "what is this", "--method", "exact", "--layer", "1", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["head"], found["method"], found["signed"]) == ("request_risk", "integrated_gradients", True)
    assert found["completeness_error"] is not None
    assert {"comprehensiveness", "sufficiency", "random_comprehensiveness"} <= set(found["faithfulness"])
    assert all(token["text"] == "what is this"[token["start"] : token["end"]] for token in found["tokens"])
    size = len(found["attention"]["tokens"])
    assert [len(row) for row in found["attention"]["matrix"]] == [size] * size


def test_the_table_says_how_far_to_trust_it(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(config, "why?", "--response", "not me", "--method", "fast") == 0
    out = capsys.readouterr().out
    assert out.startswith("response_reward: risk ")
    assert "comprehensiveness" in out
    assert "response[0:1]" in out


def test_html_and_png_are_written(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(config, "hi you", "--method", "fast", "--html", tmp_path / "why.html", "--png", tmp_path) == 0
    page = (tmp_path / "why.html").read_text()
    assert "occlusion" in page
    for picture in ("strip.png", "attention-grid.png"):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")


def test_methods_are_compared_over_a_file(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("\n".join(json.dumps({"prompt": text, "label": 0}) for text in ("hi you", "why not", "a b c")))
    assert explain(config, "--compare", rows, "--limit", "2", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n"] == 2
    methods = {row["method"] for row in found["methods"]}
    assert {"auto", "random", "attention"} <= methods
    assert explain(config, "--compare", rows, "--limit", "1") == 0
    assert "integrated_gradients" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ([], "--compare"),
        (["hi", "--method", "nonsense"], "occlusion"),
        (["hi", "--head", "nonsense"], "request_risk"),
        (["hi", "--layer", "9"], "no such layer"),
        (["hi", "--budget", "0"], "--budget"),
    ],
)
def test_what_cannot_be_explained_is_refused(
    config: Path, arguments: list[str], fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(config, *arguments) == 2
    assert fault in capsys.readouterr().err
