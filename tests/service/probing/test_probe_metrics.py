"""Which figures a finished run shows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from guards.probes.base import Measured, ProbeKind, Setting, Trial
from guards.probes.records import UnitOutcome
from service.probing.metrics import ProbeMetrics
from service.probing.results import results_to_json
from service.store.probe_records import ProbeRun, RunState, Trigger, new_run

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
ATTACK, BENIGN = ProbeKind.ATTACK, ProbeKind.BENIGN


def measured(target: str, category: str, kind: ProbeKind, trials: list[Trial], **parameters: Any) -> Measured:
    return Measured(Setting("p", target, category, kind, parameters), tuple(trials))


def hits(successes: int, trials: int) -> list[Trial]:
    return [Trial(str(number), success=number < successes) for number in range(trials)]


def right(adversarial: int, trials: int) -> list[Trial]:
    return [Trial(str(n), success=n >= adversarial, clean=True, adversarial=n < adversarial) for n in range(trials)]


def run_of(*all_measured: Measured, finished: datetime = NOON, suite: str = "s") -> ProbeRun:
    results = results_to_json([UnitOutcome("p/1", 1.0, all_measured)], {})
    made = new_run(suite, seed=7, trigger=Trigger.RPC)
    return replace(made, state=RunState.DONE, finished_at=finished, results=results)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> ProbeMetrics:
    return ProbeMetrics(registry)


def test_every_kind_of_row_has_its_figure(metrics: ProbeMetrics, registry: CollectorRegistry) -> None:
    rows = [
        measured("head", "gradient", ATTACK, right(8, 10), attack="pgd", norm="l2", epsilon=0.1),
        measured("head", "gradient", ATTACK, right(2, 10), attack="pgd", norm="l2", epsilon=0.3),
        measured("guard", "encoding", ATTACK, hits(1, 4), transformation="leet", severity=1.0),
        measured("system", "jailbreak", ATTACK, hits(3, 10), attack="roleplay", judge="a"),
        measured("system", "jailbreak", ATTACK, hits(5, 10), attack="roleplay", judge="b"),
        measured("model", "over-refusal", BENIGN, hits(1, 10)),
        measured("guard", "invariance", BENIGN, hits(2, 10), change="names"),
        measured("guard", "fairness", BENIGN, [Trial("1", value=0.25)], attribute="religion"),
        measured("head", "length-bias", BENIGN, [Trial("1", value=-0.5)]),
    ]
    metrics.show(run_of(*rows))

    def read(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"wardgate_probe_{name}", {"suite": "s", **labels})

    curve = {"target": "head", "attack": "pgd", "norm": "l2"}
    assert read("accuracy", **curve, eps="0.1", kind="adversarial") == 0.8
    assert read("accuracy", **curve, eps="0.1", kind="clean") == 1.0
    assert read("eps50", **curve) == pytest.approx(0.2)
    flip = {"probe": "p", "target": "guard", "perturbation": "leet", "severity": "1", "kind": "attack"}
    assert read("flip_ratio", **flip) == 0.25
    success = {"probe": "p", "attack": "roleplay", "scope": "system"}
    assert [read("attack_success_ratio", **success, judge=judge, bound="value") for judge in "ab"] == [0.3, 0.5]
    lower, upper = (read("attack_success_ratio", **success, judge="a", bound=bound) for bound in ("lower", "upper"))
    assert lower is not None
    assert upper is not None
    assert 0 < lower < 0.3 < upper < 1
    assert read("over_refusal_ratio", probe="p", target="model") == 0.1
    assert read("invariance_failure_ratio", probe="p", target="guard", change="names", kind="benign") == 0.2
    assert read("fairness_gap", probe="p", target="guard", attribute="religion") == 0.25
    assert read("reward_length_slope", probe="p", target="head") == -0.5
    assert read("success_ratio", category="jailbreak", kind="attack") == 0.4
    assert read("last_success_timestamp_seconds") == NOON.timestamp()


def test_attacks_and_harmless_use_are_never_added_up(metrics: ProbeMetrics, registry: CollectorRegistry) -> None:
    metrics.show(
        run_of(
            measured("guard", "encoding", ATTACK, hits(4, 4), transformation="hex", severity=1),
            measured("guard", "encoding", BENIGN, hits(0, 4), transformation="hex", severity=1),
        )
    )
    for kind, ratio in (("attack", 1.0), ("benign", 0.0)):
        labels = {"suite": "s", "category": "encoding", "kind": kind}
        assert registry.get_sample_value("wardgate_probe_success_ratio", labels) == ratio


def test_no_series_appears_twice(metrics: ProbeMetrics, registry: CollectorRegistry) -> None:
    """Rows that differ by a parameter that is no label."""
    for suite in ("s", "t"):
        metrics.show(
            run_of(
                *(measured("guard", "invariance", BENIGN, hits(1, 2), change="names", form=form) for form in "ab"),
                *(measured("h", "gradient", ATTACK, right(1, 2), epsilon=0.1, steps=steps) for steps in (1, 2)),
                suite=suite,
            )
        )
    samples = [
        (sample.name, tuple(sorted(sample.labels.items())))
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    ]
    assert len(samples) == len(set(samples))


def test_an_older_run_does_not_take_the_place_of_a_newer_one(
    metrics: ProbeMetrics, registry: CollectorRegistry
) -> None:
    metrics.show(run_of(finished=NOON))
    metrics.show(run_of(finished=NOON - timedelta(days=1)))
    assert registry.get_sample_value("wardgate_probe_last_success_timestamp_seconds", {"suite": "s"}) == (
        NOON.timestamp()
    )
