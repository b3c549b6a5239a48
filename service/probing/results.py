"""What a run came to, as JSON for the store: computed in the process of the probes, read by the service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from guards.probes.base import ProbeKind
from guards.probes.records import UnitOutcome
from guards.probes.results import Result, probe_of, results
from guards.probes.statistics.estimate import Estimate

FORMAT = 1


def results_to_json(outcomes: Sequence[UnitOutcome], skipped: Mapping[str, str]) -> dict[str, Any]:
    """`skipped`: what the run left out, and why."""
    return {
        "format": FORMAT,
        "rows": [{**asdict(row), "kind": row.kind.value} for row in results(outcomes)],
        "skipped": {**_failed(outcomes), **skipped},
        "units_done": len(outcomes),
        "spent_s": round(sum(outcome.seconds for outcome in outcomes), 3),
    }


def _failed(outcomes: Sequence[UnitOutcome]) -> dict[str, str]:
    """By probe, what is missing from its rows, or why it has none."""
    errors: dict[str, list[str]] = {}
    for outcome in outcomes:
        if outcome.error:
            errors.setdefault(probe_of(outcome.key), []).append(outcome.error)
    return {
        probe: f"{len(kinds)} units failed ({', '.join(sorted(set(kinds)))}); see the log"
        for probe, kinds in errors.items()
    }


def rows_from_json(document: Mapping[str, Any] | None) -> tuple[Result, ...]:
    """None without results, or where a later program wrote them."""
    if document is None or document.get("format") != FORMAT:
        return ()
    return tuple(_row(row) for row in document["rows"])


def _row(row: Mapping[str, Any]) -> Result:
    corrected = row["corrected"]
    fields = {**row, "kind": ProbeKind(row["kind"]), "corrected": Estimate(**corrected) if corrected else None}
    return Result(**fields)
