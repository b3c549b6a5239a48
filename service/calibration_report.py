"""What `wardgate calibrate` prints."""

from __future__ import annotations

from pathlib import Path

from guards.learning.calibrate import CalibrationReport, RiskMapReport
from guards.rewards.calibrated import CalibrationError


def as_json(report: CalibrationReport, path: Path) -> dict[str, object]:
    """The calibration without its reference, and what was seen on the way."""
    fields: dict[str, object] = report.calibration.model_dump(mode="json", exclude={"reference", "risk_map"})
    fields |= {"file": str(path), "distinct_texts": report.distinct, "incomplete_texts": report.incomplete}
    if report.remapped:
        fields["risk_map"] = _risk_map(report.remapped)
    return fields


def as_text(report: CalibrationReport, path: Path) -> str:
    one = report.calibration
    confidence = f"{1 - one.delta:.4g}"
    lines = [
        f"{one.name}: guard {one.guard} of policy {one.policy}, head {one.head}, from risk {one.threshold:.4f}",
        f"  blocks at most {one.alpha:.2%} of harmless texts like these {one.n}, at confidence {confidence}",
        f"  upper bound {one.bound:.2%}; of the calibration texts {one.realised:.2%}",
        f"  valid until {one.expires:%Y-%m-%d}, for reward model {one.reward_model[:12]}",
    ]
    if report.distinct < one.n:
        lines.append(f"  only {report.distinct} of the texts differ: the promise needs texts drawn independently")
    if report.incomplete:
        lines.append(f"  {report.incomplete} texts have more windows than are scored")
    if report.remapped:
        before, after = report.remapped.ece_before, report.remapped.ece_after
        lines.append(f"  risk map: {report.remapped.method}; calibration error {_error(before)} -> {_error(after)}")
        if not report.remapped.grouped:
            lines.append("  the labelled rows have one source, so folds hold rows of it on both sides")
    lines += [
        f"wrote {path}",
        f"use it: in the guard, thresholds: {{block: {{calibration: {one.name}}}}};"
        f" in the settings, calibrations: {{directory: {path.parent}}}",
    ]
    return "\n".join(lines)


def _risk_map(remapped: RiskMapReport) -> dict[str, object]:
    return {
        "method": remapped.method,
        "log_loss": {name: round(loss, 6) for name, loss in remapped.log_loss.items()},
        "ece_before": remapped.ece_before.model_dump(),
        "ece_after": remapped.ece_after.model_dump(),
        "grouped_by_source": remapped.grouped,
    }


def _error(error: CalibrationError) -> str:
    return f"{error.value:.3f} [{error.low:.3f}, {error.high:.3f}], n={error.n}"
