"""Invariance, direction and identity swaps: they ask the guard about pairs of texts."""

from __future__ import annotations

from pathlib import Path

import pytest

from guards.errors import ConfigError
from guards.probes.base import ProbeKind
from guards.probes.model.direction import Direction, DirectionConfig
from guards.probes.model.identity_swap import IdentitySwap, IdentitySwapConfig, mean_distance
from guards.probes.model.invariance import Invariance, InvarianceConfig
from tests.guards.probes.fake_targets import FakeGuard, FakeModel, measured, successes, targets, trials

_INVARIANCE = Invariance(InvarianceConfig(name="invariance"))
_DIRECTION = Direction(DirectionConfig(name="direction"))
_SWAP = IdentitySwap(IdentitySwapConfig(name="identity_swap"))


def test_a_guard_that_minds_a_name_is_found_and_one_that_minds_none_is_not() -> None:
    even = measured(_INVARIANCE, targets(guard=FakeGuard(request=lambda text: 0.2)))
    assert successes(even) == 0
    assert {trial.value for trial in trials(even)} == {0.0}
    rows = measured(_INVARIANCE, targets(guard=FakeGuard(request=lambda text: 0.9 if "Jamal" in text else 0.1)))
    assert successes(rows, change="names", kind=ProbeKind.BENIGN) > 0
    assert successes(rows, change="places") < successes(rows, change="names")


def test_a_guard_that_is_put_off_by_typos_lets_harm_through() -> None:
    guard = FakeGuard(request=lambda text: 0.9 if "poison" in text else 0.1)
    rows = measured(_INVARIANCE, targets(guard=guard))
    assert successes(rows, change="typos", kind=ProbeKind.ATTACK) > 0
    assert successes(rows, change="names") == 0


def test_every_variant_is_a_text_of_its_own() -> None:
    guard = FakeGuard()
    for unit in _INVARIANCE.units(7):
        guard.seen.clear()
        unit.run(targets(guard=guard))
        assert len(set(guard.seen)) == len(guard.seen) == unit.trials + 1


def test_risk_that_moves_with_the_meaning_passes_and_a_guard_upside_down_fails_everywhere() -> None:
    harm = ("prevent", "protect", "keep", "avoid", "stop", "make sure", "warn", "help a friend", "defend", "was stolen")

    def right(text: str) -> float:
        return 0.3 if any(word in text for word in harm) else 0.3 + min(len(text), 100) / 200

    assert successes(measured(_DIRECTION, targets(guard=FakeGuard(request=right))), test="adds_harm") == 0
    upside_down = FakeGuard(request=lambda text: 1 - right(text))
    rows = measured(_DIRECTION, targets(guard=upside_down))
    assert successes(rows, test="adds_harm") == len(trials(rows, test="adds_harm")) > 0
    assert successes(rows, test="takes_harm") > 0
    assert {row.setting.kind for row in rows} == {ProbeKind.ATTACK, ProbeKind.BENIGN}


def test_a_move_within_the_tolerance_is_none() -> None:
    guard = FakeGuard(request=lambda text: 0.30 if len(text) > 45 else 0.34)
    assert successes(measured(_DIRECTION, targets(guard=guard))) == 0
    strict = Direction(DirectionConfig(name="direction", tolerance=0.01))
    assert successes(measured(strict, targets(guard=guard))) > 0


def test_a_guard_that_minds_one_religion_has_a_gap_there_and_nowhere_else() -> None:
    guard = FakeGuard(request=lambda text: 0.7 if "Muslim" in text else 0.1)
    rows = measured(_SWAP, targets(guard=guard))
    religion = trials(rows, target="guard", attribute="religion")
    assert all(trial.success and trial.value == pytest.approx(0.6 * 5 / 15) for trial in religion)
    assert successes(rows, target="guard") == len(religion)
    assert {trial.value for trial in trials(rows, target="guard", attribute="age")} == {0.0}
    assert len({str(row.setting.parameters["attribute"]) for row in rows}) == 7


def test_a_model_that_refuses_some_is_found() -> None:
    model = FakeModel(lambda text: "I can't help with that." if "deaf" in text else "Give a book, that is always fine.")
    rows = measured(_SWAP, targets(model=model))
    assert successes(rows, target="model", attribute="disability") == 2
    assert successes(rows, target="model") == 2


def test_the_mean_distance_is_over_all_pairs() -> None:
    assert mean_distance([0.0, 1.0]) == 1.0
    assert mean_distance([0.0, 1.0, 1.0]) == pytest.approx(2 / 3)


def test_unknown_attributes_and_texts_without_a_place_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="religion"):
        list(IdentitySwap(IdentitySwapConfig(name="swap", attributes=("shoe_size",))).units(1))
    path = tmp_path / "mine.yaml"
    path.write_text("attributes: {a: [x, y]}\nsentences: [Nobody is here.]\nquestions: []\n")
    with pytest.raises(ConfigError, match="person"):
        list(IdentitySwap(IdentitySwapConfig(name="swap", file=path)).units(1))
