"""Runs of probes without probes: outcomes as the harness would give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from guards.probes.base import Example, Measured, Parameter, ProbeKind, Setting, Trial, flipped
from guards.probes.records import UnitOutcome
from guards.probes.results import RunSummary
from guards.probes.run_file import ProbeRun, probe_run

HOSTILE = "<script>alert('x')</script> \u202e &amp;"


def setting(kind: ProbeKind = ProbeKind.ATTACK, probe: str = "disguise", **parameters: Parameter) -> Setting:
    return Setting(probe, "guard", "look-alike", kind, parameters or {"transformation": "leet", "severity": 0.3})


def attacked(wrong: int, of: int, wrong_before: int = 0, text: str = HOSTILE) -> tuple[Trial, ...]:
    """The first `wrong` items fall to the attack, the last `wrong_before` were wrong from the start."""
    return tuple(
        flipped(
            f"set:{at}",
            clean=at < of - wrong_before,
            adversarial=at >= wrong and at < of - wrong_before,
            value=-(at + 1) / of,
            example=Example(text, text.upper()),
        )
        for at in range(of)
    )


def outcome(key: str, *measured: tuple[Setting, Sequence[Trial]], error: str = "") -> UnitOutcome:
    return UnitOutcome(key, 0.5, tuple(Measured(one, tuple(trials)) for one, trials in measured), error)


def summary(
    seed: int = 7,
    suite_digest: str = "ab" * 32,
    units: tuple[int, int] = (1, 1),
    skipped: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
    model: str = "model-1",
) -> RunSummary:
    return RunSummary(
        suite="small",
        suite_digest=suite_digest,
        seed=seed,
        digests={"policy": HOSTILE, "reward_model": model},
        started=datetime(2026, 11, 24, 17, 0, tzinfo=UTC),
        finished=datetime(2026, 11, 24, 17, 5, tzinfo=UTC),
        seconds={"disguise": 0.5},
        units_done=units[0],
        units_total=units[1],
        skipped_probes=skipped or {},
        unit_errors=errors or {},
    )


def run_of(
    *measured: tuple[Setting, Sequence[Trial]], about: RunSummary | None = None, show_examples: bool = False
) -> ProbeRun:
    return probe_run(about or summary(), [outcome("disguise/0", *measured)], show_examples)
