"""What a run came to, as JSON for the store: computed in the process of the probes, read by the service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from guards.probes.base import ProbeKind
from guards.probes.records import UnitOutcome
from guards.probes.results import Result, results
from guards.probes.statistics.estimate import Estimate

FORMAT = 1


def results_to_json(outcomes: Sequence[UnitOutcome], skipped: Mapping[str, str]) -> dict[str, Any]:
    """`skipped`: what the run left out, and why."""
    return {
        "format": FORMAT,
        "rows": [{**asdict(row), "kind": row.kind.value} for row in results(outcomes)],
        "skipped": dict(skipped),
        "unit_errors": {outcome.key: outcome.error for outcome in outcomes if outcome.error},
        "units_done": len(outcomes),
        "spent_s": round(sum(outcome.seconds for outcome in outcomes), 3),
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
