from __future__ import annotations

from pathlib import Path

import pytest

from guards.probes.harness import plan, run
from guards.probes.records import UnitOutcome
from guards.probes.suite import Suite, load_suite
from guards.probes.targets import Targets
from tests.guards.probes.plugin_probes import installed


def suite(folder: Path, *probes: str) -> Suite:
    path = folder / "counting.yaml"
    path.write_text("name: counting\ndescription: Counts.\nprobes:\n" + "".join(f"  - {probe}\n" for probe in probes))
    return load_suite(path)


def test_every_unit_is_done_once_and_told_of(tmp_path: Path) -> None:
    with installed(tmp_path / "site"):
        told: list[UnitOutcome] = []
        assert run(plan(suite(tmp_path, "{kind: count}"), Targets()), Targets(), told.append)
    assert [outcome.key for outcome in told] == ["count/0", "count/1", "count/2"]
    assert [outcome.measured[0].trials[0].success for outcome in told] == [False, True, False]  # the seed is odd


def test_units_that_are_done_are_not_done_again(tmp_path: Path) -> None:
    with installed(tmp_path / "site"):
        told: list[UnitOutcome] = []
        planned = plan(suite(tmp_path, "{kind: count}"), Targets())
        assert run(planned, Targets(), told.append, done={"count/0", "count/2"})
    assert [outcome.key for outcome in told] == ["count/1"]


def test_a_unit_that_raises_is_an_error_and_the_run_goes_on(tmp_path: Path) -> None:
    with installed(tmp_path / "site"):
        told: list[UnitOutcome] = []
        assert run(plan(suite(tmp_path, "{kind: count, raises_at: 1}"), Targets()), Targets(), told.append)
    assert [outcome.error for outcome in told] == ["", "RuntimeError", ""]
    assert told[1].measured == ()


def test_a_budget_ends_the_run_and_says_that_it_is_not_whole(tmp_path: Path) -> None:
    with installed(tmp_path / "site"):
        told: list[UnitOutcome] = []
        planned = plan(suite(tmp_path, "{kind: count}"), Targets())
        assert not run(planned, Targets(), told.append, budget_s=0.0)
        assert told == []


def test_a_probe_without_its_target_is_left_out_and_said(tmp_path: Path) -> None:
    with installed(tmp_path / "site"):
        planned = plan(
            suite(tmp_path, "{kind: count, name: a}", "{kind: count, name: b, needs_model: true}"), Targets()
        )
    assert [unit.key for unit in planned.units] == ["a/0", "a/1", "a/2"]
    assert planned.skipped == {"b": "needs model, which this server has not; 3 units"}


def test_the_seed_can_be_chosen(tmp_path: Path) -> None:
    with installed(tmp_path / "site"):
        told: list[UnitOutcome] = []
        planned = plan(suite(tmp_path, "{kind: count}"), Targets(), seed=8)
        run(planned, Targets(), told.append)
    assert planned.seed == 8
    assert [outcome.measured[0].trials[0].success for outcome in told] == [True, False, True]


@pytest.mark.parametrize("word", ["a fault of the probe"])
def test_what_a_unit_raised_is_not_in_its_outcome(tmp_path: Path, word: str) -> None:
    with installed(tmp_path / "site"):
        told: list[UnitOutcome] = []
        run(plan(suite(tmp_path, "{kind: count, raises_at: 0}"), Targets()), Targets(), told.append)
    assert word not in repr(told)
