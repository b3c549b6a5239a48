from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from guards.errors import ConfigError
from guards.probes.base import Measured, ProbeKind
from guards.probes.harness import plan, run
from guards.probes.records import UnitOutcome
from guards.probes.suite import EMBEDDED_SUITES, load_suite
from guards.probes.targets import Targets

_ROWS = [
    {"task": "sst2", "sentence": "a good film", "label": 1},
    {"task": "sst2", "sentence": "a good one , not", "label": 0},
    {"task": "sst2", "sentence": "a dull film", "label": 0},
    {"task": "rte", "premise": "one", "hypothesis": "two", "label": 2},
]
_EXAMPLE = Path(__file__).parents[4] / "docs" / "examples" / "suites" / "external.yaml"


class Sentiment:
    """Praise where the word is there."""

    labels = ("negative", "positive")

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float32]:
        good = np.array([0.9 if "good" in text else 0.2 for text in texts], dtype=np.float32)
        return np.stack([1 - good, good], axis=1)


def suite_file(folder: Path, rows: Sequence[dict[str, Any]] | None = None, **changes: object) -> Path:
    probe = {
        "kind": "labelled_texts",
        "classifier": "sentiment",
        "file": "sst.jsonl.gz",
        "origin": "https://example.org/sst",
        "only": {"task": "sst2"},
        "text": "sentence",
        "labels": {0: "negative", 1: "positive"},
        **changes,
    }
    if rows is not None:
        (folder / "sst.jsonl.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    path = folder / "external.yaml"
    path.write_text(json.dumps({"name": "external", "description": "Other people's.", "probes": [probe]}))
    return path


def measured(path: Path) -> list[Measured]:
    found: list[UnitOutcome] = []
    targets = Targets(classifiers={"sentiment": Sentiment()}.__getitem__)
    run(plan(load_suite(path), targets), targets, found.append)
    assert not any(one.error for one in found)
    return [one for outcome in found for one in outcome.measured]


@pytest.mark.parametrize(("adversarial", "kind"), [(True, ProbeKind.ATTACK), (False, ProbeKind.BENIGN)])
def test_a_misjudged_text_counts_by_what_it_was_written_for(tmp_path: Path, adversarial: bool, kind: ProbeKind) -> None:
    (plain,) = measured(suite_file(tmp_path, _ROWS, adversarial=adversarial))
    assert plain.setting.kind is kind
    assert plain.setting.target == "sentiment"
    assert [trial.success for trial in plain.trials] == [False, True, False]
    assert [trial.example is not None for trial in plain.trials] == [False, True, False]


def test_an_attack_counts_where_the_text_was_judged_right_before(tmp_path: Path) -> None:
    found = measured(suite_file(tmp_path, _ROWS, attacks=["word_scramble", "random_case"], severity=1.0, max_share=1.0))
    searched = [one.trials[0] for one in found if one.setting.parameters["attack"] == "word_scramble"]
    assert [trial.success for trial in searched] == [True, False, False]
    assert [bool(trial.skipped) for trial in searched] == [False, True, False]
    assert searched[0].value is not None
    assert searched[0].value > 1
    (cased,) = (one for one in found if one.setting.parameters["attack"] == "random_case")
    assert [trial.clean for trial in cased.trials] == [True, False, True]


def test_a_missing_file_is_named_with_where_to_get_it(tmp_path: Path) -> None:
    suite = load_suite(suite_file(tmp_path))
    with pytest.raises(ConfigError, match=r"sst\.jsonl\.gz is not there; get it from https://example\.org/sst"):
        suite.units()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"text": "words"}, "'words' holds no text"),
        ({"labels": {"0": "negative"}}, "lacks the row's label"),
        ({"only": {"task": "qqp"}}, "no row fits"),
    ],
)
def test_a_file_that_does_not_fit_the_suite_is_refused(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    suite = load_suite(suite_file(tmp_path, _ROWS, **changes))
    with pytest.raises(ConfigError, match=said):
        suite.units()


def test_a_file_that_is_no_json_lines_is_refused_without_its_text(tmp_path: Path) -> None:
    path = suite_file(tmp_path, file="plain.jsonl")
    (tmp_path / "plain.jsonl").write_text("secret words")
    with pytest.raises(ConfigError, match=r"plain\.jsonl:1: not a JSON object") as refused:
        load_suite(path).units()
    assert "secret" not in str(refused.value)


def test_an_unknown_attack_is_refused_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="word_scramble"):
        load_suite(suite_file(tmp_path, _ROWS, attacks=["magic"]))


def test_a_label_that_the_classifier_lacks_is_an_error_of_the_unit(tmp_path: Path) -> None:
    found: list[UnitOutcome] = []
    targets = Targets(classifiers={"sentiment": Sentiment()}.__getitem__)
    path = suite_file(tmp_path, _ROWS, labels={0: "bad", 1: "good"})
    run(plan(load_suite(path), targets), targets, found.append)
    assert [one.error for one in found] == ["ConfigError"]


def test_the_example_suite_is_valid_and_runs_where_its_files_are() -> None:
    suite = load_suite(_EXAMPLE)
    names = [probe["file"] for probe in yaml.safe_load(_EXAMPLE.read_text())["probes"]]
    if missing := [name for name in names if not (_EXAMPLE.parent / name).exists()]:
        with pytest.raises(ConfigError, match="get it from"):
            suite.units()
        pytest.skip(f"{missing[0]} is not here: the collections are not ours to ship")
    assert suite.units()


def test_no_suite_that_ships_names_a_file_outside_the_package() -> None:
    for path in EMBEDDED_SUITES.glob("*.yaml"):
        assert "file:" not in path.read_text()
