"""A run of probes as pictures: robustness curves, and success by technique. Needs matplotlib, of the `train` extra."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guards.pictures import FAINT, INK, SAFE, SERIES, UNSAFE, Picture, picture
from guards.probes.base import Parameter, ProbeKind
from guards.probes.redaction import visible
from guards.probes.results import Result
from guards.probes.statistics.curve import area, halving_strength
from guards.probes.statistics.ratio import wilson

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = {ProbeKind.ATTACK: UNSAFE, ProbeKind.BENIGN: SAFE}
_MARKERS = "osD^vP"
_AXIS = {
    ProbeKind.ATTACK: "attacks that got through, share of trials",
    ProbeKind.BENIGN: "harmless use that was hurt, share of trials",
}
_MOST_BARS = 40  # of one picture: about what a page holds


@dataclass(frozen=True)
class Curve:
    """Accuracy over the strength of one attack in one norm, strengths rising. `area` and `eps50` are as in
    guards.probes.statistics.curve, None where one strength makes no curve."""

    probe: str
    target: str
    name: str
    norm: str
    points: tuple[Result, ...]

    @property
    def strengths(self) -> list[float]:
        return [float(point.epsilon or 0.0) for point in self.points]

    @property
    def accuracies(self) -> list[float]:
        return [float(point.adversarial_accuracy or 0.0) for point in self.points]

    @property
    def area(self) -> float | None:
        return area(self.strengths, self.accuracies) if len(self.points) > 1 else None

    @property
    def eps50(self) -> float | None:
        return halving_strength(self.strengths, self.accuracies) if len(self.points) > 1 else None


def curves(rows: Sequence[Result]) -> tuple[Curve, ...]:
    """The rows that have an epsilon, joined where all but it is the same. Of two rows at one strength the first."""
    joined: dict[tuple[object, ...], dict[float, Result]] = {}
    for row in rows:
        if row.epsilon is None or row.adversarial_accuracy is None:
            continue
        rest = tuple(sorted((key, value) for key, value in row.parameters.items() if key != "epsilon"))
        joined.setdefault((row.probe, row.target, row.kind, rest), {}).setdefault(row.epsilon, row)
    return tuple(_curve([by[epsilon] for epsilon in sorted(by)]) for by in joined.values())


def _curve(points: list[Result]) -> Curve:
    first = points[0]
    rest = {key: value for key, value in first.parameters.items() if key not in ("epsilon", "norm")}
    return Curve(first.probe, first.target, words(rest) or first.probe, first.norm or "", tuple(points))


def technique(row: Result) -> str:
    """What tells a row from the others of its probe."""
    return words(row.parameters) or row.probe


def run_pictures(rows: Sequence[Result]) -> tuple[Picture, ...]:
    """Of every probe and target; attacks and harmless use in pictures of their own."""
    drawn = _curve_pictures(curves(rows))
    for kind in ProbeKind:
        groups: dict[tuple[str, str], list[Result]] = {}
        for row in rows:
            if row.kind is kind and row.epsilon is None and row.ratio is not None:
                groups.setdefault((row.probe, row.target), []).append(row)
        for (probe, target), members in groups.items():
            drawn += _bar_pictures(kind, f"{probe} on {target}", members)
    return tuple(drawn)


def _curve_pictures(found: Sequence[Curve]) -> list[Picture]:
    groups: dict[tuple[str, str, str], list[Curve]] = {}
    for curve in found:
        groups.setdefault((curve.probe, curve.target, curve.norm), []).append(curve)
    return [
        picture(
            f"{probe} on {target}" + (f", {norm}" if norm else ""),
            "accuracy against the strength of each attack, with 95% bands",
            lambda figure, members=members: _draw_curves(figure, members),  # type: ignore[misc]
        )
        for (probe, target, norm), members in groups.items()
    ]


def _draw_curves(figure: Figure, members: Sequence[Curve]) -> None:
    axes = figure.add_subplot()
    for number, curve in enumerate(members):
        colour = SERIES[number % len(SERIES)]
        bands = [
            wilson(round(accuracy * point.accuracy_trials), point.accuracy_trials)
            for accuracy, point in zip(curve.accuracies, curve.points, strict=True)
        ]
        axes.fill_between(
            curve.strengths, [band.low for band in bands], [band.high for band in bands], color=colour, alpha=0.15, lw=0
        )
        label = f"{curve.name} (n={min(point.accuracy_trials for point in curve.points):,})"
        marker = _MARKERS[number % len(_MARKERS)]
        axes.plot(
            curve.strengths, curve.accuracies, color=colour, marker=marker, markersize=4.5, linewidth=1.6, label=label
        )
    axes.set(xlabel="epsilon", ylabel="right under attack, share", ylim=(-0.02, 1.02))
    axes.grid(True)
    axes.legend(loc="best")


def _bar_pictures(kind: ProbeKind, name: str, rows: Sequence[Result]) -> list[Picture]:
    """The worst first. More than a page holds go on in further pictures."""
    order = sorted(rows, key=lambda row: (-(row.ratio or 0.0), technique(row)))
    each = math.ceil(len(order) / math.ceil(len(order) / _MOST_BARS))
    pages = [order[at : at + each] for at in range(0, len(order), each)]
    word = "attacks" if kind is ProbeKind.ATTACK else "harmless use"
    return [
        picture(
            f"{name}: {word}" + (f" ({number} of {len(pages)})" if len(pages) > 1 else ""),
            f"{_AXIS[kind]}, by technique, with 95% intervals",
            lambda figure, page=page: _draw_bars(figure, kind, page),  # type: ignore[misc]
            size=(7.4, 1.3 + 0.24 * max(4, len(page))),
        )
        for number, page in enumerate(pages, 1)
    ]


def _draw_bars(figure: Figure, kind: ProbeKind, rows: Sequence[Result]) -> None:
    axes = figure.add_subplot()
    places = list(range(len(rows)))
    ratios = [row.ratio or 0.0 for row in rows]
    errors = (
        [row.ratio - row.low for row in rows if row.ratio is not None],
        [row.high - row.ratio for row in rows if row.ratio is not None],
    )
    axes.barh(places, ratios, color=_COLOURS[kind], alpha=0.75, height=0.7)
    axes.errorbar(ratios, places, xerr=errors, fmt="none", ecolor=INK, elinewidth=1, capsize=2)
    axes.set_yticks(places, [f"{technique(row)}  ({row.successes} of {row.trials})" for row in rows], fontsize=8)
    axes.set(xlabel=_AXIS[kind], xlim=(0, 1), ylim=(len(rows) - 0.4, -0.6))
    axes.grid(True, axis="x")
    axes.axvline(0, color=FAINT, linewidth=1)


def words(parameters: Mapping[str, Parameter]) -> str:
    """ "leet, severity 0.3" from {"transformation": "leet", "severity": 0.3}: words speak for themselves."""
    return ", ".join(
        visible(value, 80) if isinstance(value, str) else f"{name} {value:g}" for name, value in parameters.items()
    )
