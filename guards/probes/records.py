"""Units' outcomes as JSON, for the store, the pipe between processes and `wardgate probe run --json`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from guards.probes.base import Example, Measured, ProbeKind, Setting, Trial


@dataclass(frozen=True, slots=True)
class UnitOutcome:
    """What came of one unit. `error` is the type of what it raised; then nothing was measured."""

    key: str
    seconds: float
    measured: tuple[Measured, ...] = ()
    error: str = ""


def to_json(outcome: UnitOutcome) -> dict[str, Any]:
    return {
        "key": outcome.key,
        "seconds": round(outcome.seconds, 6),
        "error": outcome.error,
        "measured": [
            {"setting": setting_to_json(one.setting), "trials": [_trial_to_json(trial) for trial in one.trials]}
            for one in outcome.measured
        ],
    }


def from_json(record: dict[str, Any]) -> UnitOutcome:
    measured = tuple(
        Measured(setting_from_json(one["setting"]), tuple(_trial_from_json(trial) for trial in one["trials"]))
        for one in record["measured"]
    )
    return UnitOutcome(record["key"], record["seconds"], measured, record["error"])


def setting_to_json(setting: Setting) -> dict[str, Any]:
    return {
        "probe": setting.probe,
        "target": setting.target,
        "category": setting.category,
        "kind": setting.kind.value,
        "parameters": dict(setting.parameters),
    }


def setting_from_json(record: dict[str, Any]) -> Setting:
    return Setting(
        record["probe"], record["target"], record["category"], ProbeKind(record["kind"]), record["parameters"]
    )


def _trial_to_json(trial: Trial) -> dict[str, Any]:
    """Without what is unset: a run has tens of thousands."""
    record: dict[str, Any] = {"item": trial.item}
    if trial.success:
        record["success"] = True
    if trial.skipped:
        record["skipped"] = trial.skipped
    for name in ("clean", "adversarial", "value"):
        if (value := getattr(trial, name)) is not None:
            record[name] = value
    if trial.example is not None:
        record["example"] = [trial.example.original, trial.example.attacked, trial.example.answer]
    return record


def _trial_from_json(record: dict[str, Any]) -> Trial:
    return Trial(
        item=record["item"],
        success=record.get("success", False),
        skipped=record.get("skipped", ""),
        clean=record.get("clean"),
        adversarial=record.get("adversarial"),
        value=record.get("value"),
        example=Example(*record["example"]) if "example" in record else None,
    )
