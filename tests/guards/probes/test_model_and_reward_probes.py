"""What every probe of the wrapped model and of the reward promises."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from guards.errors import ConfigError
from guards.probes.base import Probe
from guards.probes.harness import plan, run
from guards.probes.records import UnitOutcome, from_json, to_json
from guards.probes.registry import BUILT_IN
from guards.probes.suite import load_suite, named_suite
from tests.guards.probes.fake_targets import FakeScores, targets

_KINDS = [
    kind
    for kind, one in BUILT_IN.items()
    if one.config.__module__.startswith(("guards.probes.model.", "guards.probes.reward."))
]
_EVERY = pytest.mark.parametrize("kind", _KINDS)


def _probe(kind: str, **settings: object) -> Probe:
    one = BUILT_IN[kind]
    return one.build(one.config.model_validate({"name": kind, **settings}))


@_EVERY
def test_the_same_seed_plans_the_same_units_and_no_key_comes_twice(kind: str) -> None:
    keys = [unit.key for unit in _probe(kind).units(3)]
    assert keys == [unit.key for unit in _probe(kind).units(3)]
    assert len(set(keys)) == len(keys) > 0
    assert all(key.startswith(f"{kind}/") for key in keys)


@_EVERY
def test_units_give_the_trials_they_announce_under_few_settings(kind: str) -> None:
    given = targets(scores=FakeScores(lambda prompt, response: float(len(response) % 7)))
    settings = set()
    for unit in list(_probe(kind).units(3))[:12]:
        rows = unit.run(given)
        for row in rows:
            assert row.setting.probe == kind
            settings.add(row.setting.key)
            items = [trial.item for trial in row.trials]
            assert len(set(items)) == len(items)
        heads = len({row.setting.target for row in rows}) if unit.key.startswith(tuple(_of_reward())) else 1
        assert sum(len(row.trials) for row in rows) == unit.trials * heads
    assert len(settings) <= 40


@_EVERY
def test_a_file_of_ones_own_that_is_not_there_is_named(kind: str, tmp_path: Path) -> None:
    if "file" not in BUILT_IN[kind].config.model_fields:
        pytest.skip("takes no file")
    with pytest.raises(ConfigError, match=r"mine\.yaml"):
        list(_probe(kind, file=tmp_path / "mine.yaml").units(3))


@pytest.mark.parametrize("name", ["model", "reward"])
def test_a_shipped_suite_runs_whole_and_its_records_come_back(name: str) -> None:
    given = targets(scores=FakeScores(lambda prompt, response: float(len(response) % 7)))
    planned = plan(named_suite(None, name), given)
    outcomes: list[UnitOutcome] = []
    assert run(planned, given, outcomes.append)
    assert [outcome.error for outcome in outcomes if outcome.error] == []
    assert [from_json(to_json(outcome)).measured for outcome in outcomes] == [one.measured for one in outcomes]
    assert not planned.skipped


def test_the_suite_of_the_model_is_skipped_without_one_and_what_needs_only_the_guard_is_not() -> None:
    planned = plan(named_suite(None, "model"), targets(model=None))
    assert {"jailbreak", "over_refusal", "common_sense"} <= planned.skipped.keys()
    assert {unit.key.split("/")[0] for unit in planned.units} == {"invariance", "direction"}


def test_a_suite_takes_material_from_beside_itself(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text('facts: [{question: "What is dry?", answers: [sand]}]')
    (tmp_path / "own.yaml").write_text(
        "name: own\ndescription: mine\nprobes: [{kind: common_sense, file: mine.yaml}]\n"
    )
    assert [unit.trials for _, unit in load_suite(tmp_path / "own.yaml").units()] == [1]


@pytest.mark.parametrize("text", ["facts: 3", "facts: [", "unknown: []", "[]"])
def test_material_of_another_shape_is_refused_with_its_file(text: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"mine\.yaml"):
        list(_probe("common_sense", file=tmp_path / "mine.yaml").units(3))


def test_the_page_has_a_row_for_every_probe_with_its_category() -> None:
    page = (Path(__file__).parents[3] / "docs" / "probe-kinds.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| `([\w-]+)` \|", page, re.MULTILINE))
    given = targets(scores=FakeScores(lambda prompt, response: 0.0))
    for kind in _KINDS:
        unit = next(iter(_probe(kind).units(3)))
        assert {row.setting.category for row in unit.run(given)} == {rows[kind]}


def test_the_suite_on_the_page_is_one(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "probes.md").read_text()
    (example,) = re.findall(r"```yaml\n(name: mine\n.*?)```", page, re.DOTALL)
    (tmp_path / "mine.yaml").write_text(example)
    (tmp_path / "our_jailbreaks.yaml").write_text("templates: [{name: a, family: b, text: 'Now! {behaviour}'}]")
    assert len(load_suite(tmp_path / "mine.yaml").units()) == 3


def _of_reward() -> list[str]:
    return [kind for kind in _KINDS if BUILT_IN[kind].config.__module__.startswith("guards.probes.reward.")]
