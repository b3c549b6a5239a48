from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from guards.errors import ConfigError
from guards.probes.harness import Plan, plan, run
from guards.probes.kept_units import KeptUnits
from guards.probes.records import UnitOutcome
from guards.probes.suite import load_suite
from guards.probes.targets import Targets
from tests.guards.probes.plugin_probes import installed

DIGESTS = {"reward_model": "a"}


def planned(folder: Path, units: int = 3, seed: int | None = None) -> Plan:
    path = folder / "counting.yaml"
    path.write_text(f"name: counting\ndescription: d\nprobes: [{{kind: count, units: {units}}}]")
    with TemporaryDirectory() as site, installed(Path(site)):
        return plan(load_suite(path), Targets(), seed)


def done_until(one: Plan, path: Path, budget_s: float | None) -> list[UnitOutcome]:
    """What a run that stops after its budget has in the end: what was kept, and what it did itself."""
    with KeptUnits(path, one, DIGESTS) as kept:
        outcomes = list(kept.earlier)

        def keep(outcome: UnitOutcome) -> None:
            kept.keep(outcome)
            outcomes.append(outcome)

        run(one, Targets(), keep, {outcome.key for outcome in outcomes}, budget_s)
    return outcomes


def test_a_run_goes_on_from_what_was_kept_and_counts_every_unit_once(tmp_path: Path) -> None:
    one, path = planned(tmp_path), tmp_path / "units.jsonl"
    with KeptUnits(path, one, DIGESTS) as kept:
        run(Plan(one.suite, one.seed, one.units[:2]), Targets(), kept.keep)
    outcomes = done_until(one, path, None)
    assert [outcome.key for outcome in outcomes] == ["count/0", "count/1", "count/2"]
    assert len(path.read_text().splitlines()) == 4


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_line_that_was_cut_short_is_done_again(tmp_path: Path, cut: int) -> None:
    one, path = planned(tmp_path), tmp_path / "units.jsonl"
    whole = done_until(one, path, None)
    path.write_bytes(path.read_bytes()[:-cut])
    assert [o.measured for o in done_until(one, path, None)] == [o.measured for o in whole]
    assert len(path.read_text().splitlines()) == 4


def test_a_unit_that_stands_there_twice_counts_once(tmp_path: Path) -> None:
    one, path = planned(tmp_path), tmp_path / "units.jsonl"
    done_until(one, path, None)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, lines[1]]) + "\n")
    with KeptUnits(path, one, DIGESTS) as kept:
        assert [outcome.key for outcome in kept.earlier] == ["count/0", "count/1", "count/2"]


def test_a_file_of_another_run_is_refused_with_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "units.jsonl"
    done_until(planned(tmp_path), path, None)
    with pytest.raises(ConfigError, match=r"another run \(seed differ\)"):
        KeptUnits(path, planned(tmp_path, seed=8), DIGESTS)
    with pytest.raises(ConfigError, match="digests differ"):
        KeptUnits(path, planned(tmp_path), {"reward_model": "b"})
    with pytest.raises(ConfigError, match="suite_digest differ"):
        KeptUnits(path, planned(tmp_path, units=4), DIGESTS)


@pytest.mark.parametrize("text", ["not json\n", "[1]\n", '{"format": "x"}\nnonsense\n'])
def test_a_file_of_something_else_is_refused_and_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"notes\.txt"):
        KeptUnits(path, planned(tmp_path), DIGESTS)
    assert path.read_text() == text
