"""Held-out scores as pictures. Seeds are shown together: every row stands in a picture once a seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

from guards.learning.by_seed import LabelledScores, PairScores
from guards.learning.estimates import mass_bins
from guards.learning.metrics import Floats, wilson
from guards.pictures import FAINT, INK, SAFE, SERIES, UNSAFE, Picture, picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_CURVES = 8  # more colours than this nobody tells apart; the table has the rest
_CURVE_POINTS = 400


def head_pictures(head: str, rows: LabelledScores, threshold: float) -> tuple[Picture, ...]:
    """ROC and reliability where the head has both classes; histogram and length for any labelled rows."""
    both = len(np.unique(rows.labels)) == 2
    pictures = []
    if both:
        pictures.append(picture(f"{head}: ROC", "ROC curves by source and of all", lambda figure: _roc(figure, rows)))
        text = "how often texts of each risk are unsafe, against the ideal line"
        pictures.append(picture(f"{head}: reliability", text, lambda figure: _reliability(figure, rows)))
    text = f"risk of safe and unsafe rows, with the threshold {threshold:g}"
    pictures.append(picture(f"{head}: risk by class", text, lambda figure: _histogram(figure, rows, threshold)))
    text = "reward against length in tokens, with the mean of each class by length"
    pictures.append(picture(f"{head}: reward by length", text, lambda figure: _length(figure, rows)))
    return tuple(pictures)


def pair_picture(head: str, pairs: PairScores) -> Picture:
    text = "the better answer's reward less the worse one's, each half of refusal pairs by itself"
    return picture(f"{head}: pairs", text, lambda figure: _gaps(figure, pairs))


def _roc(figure: Figure, rows: LabelledScores) -> None:
    """Sources with both classes by their curve, the largest first; the rest are in the curve of all."""
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=FAINT, linestyle=":", linewidth=1)
    names, counts = np.unique(rows.sources, return_counts=True)
    mixed = [
        str(names[at])
        for at in np.argsort(-counts, kind="stable")
        if len(np.unique(rows.labels[rows.sources == names[at]])) == 2
    ]
    for name, colour in zip(mixed[:_MOST_CURVES], SERIES, strict=False):
        part = rows.where(rows.sources == name)
        axes.plot(*_curve(part), color=colour, linewidth=1.4, label=f"{_short(name)} ({len(part):,})")
    axes.plot(*_curve(rows), color=INK, linewidth=2.6, label=f"all sources ({len(rows):,})")
    axes.set(xlabel="share of safe rows flagged", ylabel="share of unsafe rows flagged", xlim=(0, 1), ylim=(0, 1.01))
    axes.grid(True)
    left_out = len(mixed) - _MOST_CURVES
    axes.legend(loc="lower right", title=f"and {left_out} smaller sources, not drawn" if left_out > 0 else None)


def _curve(rows: LabelledScores) -> tuple[Floats, Floats]:
    """The mean of the seeds' curves, at fixed shares of safe rows (vertical averaging, Fawcett 2006)."""
    at = np.linspace(0, 1, _CURVE_POINTS)
    curves = []
    for risks in rows.risks:
        order = np.argsort(-risks, kind="stable")
        last = np.append(np.diff(risks[order]) != 0, True)  # equal risks are flagged together
        labels = rows.labels[order]
        found = np.append(0, np.cumsum(labels)[last]) / max(1, labels.sum())
        alarms = np.append(0, np.cumsum(1 - labels)[last]) / max(1, (1 - labels).sum())
        curve = np.interp(at, alarms, found)
        curve[0] = 0.0
        curves.append(curve)
    return at, np.asarray(np.mean(curves, axis=0))


def _short(name: str) -> str:
    return name if len(name) <= 26 else f"{name[:25]}…"


def _reliability(figure: Figure, rows: LabelledScores) -> None:
    """Equal-mass bins over rows as they are; the bars below count the rows of a risk."""
    axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    seeds = len(rows.risks)
    risks, labels = rows.risks.ravel(), np.tile(rows.labels, seeds)
    bins = mass_bins(risks, np.ones(len(risks)))
    axes.plot([0, 1], [0, 1], color=FAINT, linestyle=":", linewidth=1.2, label="ideal")
    middles, values, lows, highs = [], [], [], []
    for number in np.unique(bins):
        members = bins == number
        n = max(1, round(members.sum() / seeds))
        measure = wilson(labels[members].mean() * n, n)
        middles.append(risks[members].mean())
        values.append(measure.value)
        lows.append(measure.value - measure.low)
        highs.append(measure.high - measure.value)
    size = len(rows) / len(middles)
    axes.errorbar(
        middles,
        values,
        yerr=(lows, highs),
        color=SAFE,
        marker="o",
        markersize=5,
        linewidth=1.4,
        capsize=2.5,
        label=f"measured, {len(middles)} bins of about {size:,.0f} rows, 95%",
    )
    axes.set(ylabel="share that is unsafe", xlim=(0, 1), ylim=(0, 1.02))
    axes.grid(True)
    axes.legend(loc="upper left")
    counts.hist(risks, bins=20, range=(0, 1), weights=np.full(risks.shape, 1 / seeds), color=FAINT)
    counts.set(xlabel="risk, as calibrated", ylabel="rows")


def _histogram(figure: Figure, rows: LabelledScores, threshold: float) -> None:
    axes = figure.add_subplot()
    edges = np.linspace(0, 1, 31).tolist()
    for label, name, colour in ((0, "safe", SAFE), (1, "unsafe", UNSAFE)):
        mask = rows.labels == label
        if not mask.any():
            continue
        risks = rows.risks[:, mask].ravel()
        weights = np.full(risks.shape, 1 / len(risks))
        name = f"{name} ({int(mask.sum()):,} rows)"
        axes.hist(risks, bins=edges, weights=weights, color=colour, alpha=0.4, label=name)
        axes.hist(risks, bins=edges, weights=weights, color=colour, histtype="step", linewidth=1.4)
    axes.axvline(threshold, color=INK, linestyle="--", linewidth=1.4, label=f"threshold {threshold:g}")
    axes.set(xlabel="risk", ylabel="share of the class", xlim=(0, 1))
    axes.grid(True, axis="y")
    axes.legend(loc="upper center")


def _gaps(figure: Figure, pairs: PairScores) -> None:
    """Right of zero the better answer has the higher reward."""
    axes = figure.add_subplot()
    gaps = pairs.chosen - pairs.rejected
    low, high = np.quantile(gaps, [0.002, 0.998])
    edges = np.linspace(min(low, -0.1), max(high, 0.1), 41).tolist()
    for half, name, colour in (
        ("", "preferences", INK),
        ("safe", "safe half: the answer should win", SAFE),
        ("unsafe", "unsafe half: the refusal should win", UNSAFE),
    ):
        mask = pairs.halves == half
        if not mask.any():
            continue
        values = np.clip(gaps[:, mask].ravel(), edges[0], edges[-1])
        weights = np.full(values.shape, 1 / len(values))
        name = f"{name} ({int(mask.sum()):,} pairs)"
        axes.hist(values, bins=edges, weights=weights, color=colour, histtype="step", linewidth=1.8, label=name)
    axes.axvline(0, color=FAINT, linestyle="--", linewidth=1.4)
    axes.set(xlabel="reward of the better answer − of the worse", ylabel="share of the pairs")
    axes.grid(True, axis="y")
    axes.margins(y=0.25)
    axes.legend(loc="upper left")


def _length(figure: Figure, rows: LabelledScores) -> None:
    axes = figure.add_subplot()
    rewards = rows.rewards.mean(axis=0)
    tokens = np.maximum(rows.tokens, 1).astype(np.float64)
    axes.hexbin(tokens, rewards, gridsize=40, xscale="log", bins="log", mincnt=1, cmap="Greys", linewidths=0, alpha=0.6)
    for label, name, colour, marker in ((0, "safe", SAFE, "o"), (1, "unsafe", UNSAFE, "s")):
        mask = rows.labels == label
        if not mask.any():
            continue
        middles, means, errors = _binned(tokens[mask], rewards[mask])
        axes.errorbar(
            middles,
            means,
            yerr=errors,
            color=colour,
            marker=marker,
            markersize=4.5,
            capsize=2.5,
            label=f"{name}, mean, 95%",
        )
    axes.set(xlabel="tokens", ylabel="reward, higher is better")
    axes.xaxis.set_major_formatter(lambda value, position: f"{value:g}")
    axes.grid(True)
    axes.legend(loc="best")


def _binned(tokens: Floats, rewards: Floats) -> tuple[Floats, Floats, Floats]:
    """Mean reward and its 95% half-width in bins of about as many rows each."""
    bins = np.minimum((rankdata(tokens, method="min") - 1) * 8 // len(tokens), 7)
    kept = [bins == number for number in np.unique(bins) if (bins == number).sum() >= 5]
    if not kept:
        kept = [np.ones(len(tokens), dtype=np.bool_)]
    return (
        np.array([float(np.exp(np.log(tokens[one]).mean())) for one in kept]),
        np.array([float(rewards[one].mean()) for one in kept]),
        np.array([1.96 * float(rewards[one].std()) / float(np.sqrt(one.sum())) for one in kept]),
    )
