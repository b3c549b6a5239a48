"""The suite's results as one JSON object, and as one HTML file that asks the network for nothing."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment

from guards.learning.by_seed import labelled_scores, pair_scores
from guards.learning.gates import Gate, GateResult, check_gates
from guards.learning.heldout import HeldOutScores
from guards.learning.plots import head_pictures, pair_picture
from guards.learning.suite import HeadSuite, PairSlice, Slice, Suite, measure_suite
from guards.pages import page_environment
from guards.pictures import Picture

FORMAT = "wardgate.suite/1"
_TEMPLATE = "report.html.j2"


@dataclass(frozen=True)
class Report:
    scores: HeldOutScores
    suite: Suite
    gates: tuple[GateResult, ...]

    @property
    def failed(self) -> tuple[GateResult, ...]:
        return tuple(result for result in self.gates if not result.passed)


def measure(scores: HeldOutScores, gates: Sequence[Gate]) -> Report:
    return Report(scores, measure_suite(scores), check_gates(gates, scores))


def as_json(report: Report) -> str:
    """Every figure of the report; gates name whether they passed."""
    gates = [
        {
            "gate": result.gate.model_dump(mode="json"),
            "estimate": None if result.estimate is None else dataclasses.asdict(result.estimate),
            "passed": result.passed,
            "clear": result.clear,
        }
        for result in report.gates
    ]
    fields = {"format": FORMAT, **dataclasses.asdict(report.suite), "gates": gates}
    return json.dumps(fields, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def summary(report: Report) -> str:
    """The gates as lines for a terminal."""
    return "\n".join(_summary_line(result) for result in report.gates)


def _summary_line(result: GateResult) -> str:
    verdict = "pass" if result.passed else "FAIL"
    start = f"{verdict}  {result.gate.name:42} {result.gate.metric:20} {result.gate.limit}"
    if result.estimate is None:
        return f"{start:76} no held-out rows"
    e = result.estimate
    return f"{start:76} {e.value:.3f} [{e.low:.3f}, {e.high:.3f}]  seeds {e.least:.3f} to {e.most:.3f}  n={e.n}"


def as_html(report: Report) -> str:
    """One file with its pictures in it. Names are escaped; the same scores give the same bytes."""
    template = _environment().get_template(_TEMPLATE)
    heads = [_Section(head, _pictures(head, report.scores)) for head in report.suite.heads]
    html: str = template.render(suite=report.suite, gates=report.gates, failed=report.failed, heads=heads)
    return html


@dataclass(frozen=True)
class _Section:
    """A head as the template shows it."""

    head: HeadSuite
    pictures: tuple[Picture, ...]


def _pictures(head: HeadSuite, scores: HeldOutScores) -> tuple[Picture, ...]:
    pictures: list[Picture] = []
    if head.labelled:
        pictures += head_pictures(head.head, labelled_scores(scores, head.head), head.labelled.threshold)
    if head.pairs:
        pictures.append(pair_picture(head.head, pair_scores(scores, head.head)))
    return tuple(pictures)


def _environment() -> Environment:
    environment = page_environment(Path(__file__).parent)
    environment.filters.update(number=_number, by_kind=_by_kind, half=half_name)
    return environment


def _number(value: float) -> str:
    return f"{value:.3f}"


def _by_kind(slices: Sequence[Slice]) -> list[Slice]:
    """Both classes first, then unsafe alone, then safe alone."""
    return sorted(slices, key=lambda one: (not (one.safe and one.unsafe), one.unsafe == 0, one.name))


def half_name(pairs: PairSlice) -> str:
    return {
        "": "preference",
        "safe": "safe half: the answer should win",
        "unsafe": "unsafe half: the refusal should win",
    }[pairs.half]
