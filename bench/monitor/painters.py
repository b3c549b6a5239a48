"""How each kind of panel looks in the picture."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bench.monitor.prometheus import Series

Panel: TypeAlias = Mapping[str, Any]
Answers: TypeAlias = Sequence[tuple[str, Sequence[Series]]]

GREY = "#6e7781"
_COLORS = ("#56a64b", "#e0b400", "#1f60c4", "#fa6400", "#e02f44", "#8f3bb8", "#00a3a3", "#a16207", "#c15c95", "#555555")
_NAMED = {"red": "#e02f44", "orange": "#fa6400", "green": "#56a64b", "text": "#24292e", "transparent": "#24292e"}
_MOST_IN_LEGEND = 8
_LABEL = re.compile(r"\{\{(\w+)\}\}")
_END = re.compile(r", (lower|upper|bound|target|two intervals)$")
_FAINT = re.compile(r", (lower|upper)$|^threshold|, bound$|two intervals$")


@dataclass(frozen=True, slots=True)
class Painted:
    """`left` and `bottom` are margins in grid units."""

    paint: Callable[[Axes, Panel, Answers], None]
    left: float = 1.1
    bottom: float = 2.0
    over_time: bool = True


def _named(legend: str, series: Series) -> str:
    if not legend:
        return ", ".join(value for name, value in series.labels.items() if name != "__name__")
    return _LABEL.sub(lambda match: series.labels.get(match[1], ""), legend)


def formatted(value: float, unit: str) -> str:
    if math.isnan(value):
        return "-"
    match unit:
        case "percentunit":
            return f"{value * 100:.3g} %"
        case "s":
            return f"{value * 1000:.3g} ms" if abs(value) < 1 else f"{value:.3g} s" if value < 600 else _long(value)
        case "bytes":
            return f"{value / 2**20:.4g} MiB"
        case "reqps":
            return f"{value:.3g} / s"
        case _:
            return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _long(seconds: float) -> str:
    return f"{seconds / 3600:.3g} h" if seconds < 172800 else f"{seconds / 86400:.3g} d"


def _unit(panel: Panel) -> str:
    return str(panel["fieldConfig"]["defaults"].get("unit", "short"))


def _over_time(axes: Axes) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")))
    axes.tick_params(length=0, labelsize=6, colors=GREY)
    axes.grid(color="#eceeef", linewidth=0.6)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _lines(axes: Axes, panel: Panel, answers: Answers) -> None:
    unit, defaults = _unit(panel), panel["fieldConfig"]["defaults"]
    _over_time(axes)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: formatted(value, unit)))
    every = [(_named(legend, one), one) for legend, series in answers for one in series]
    stacked = defaults.get("custom", {}).get("stacking", {}).get("mode") == "normal"
    if stacked and every:
        _stack(axes, every)
    else:
        colors: dict[str, str] = {}  # ends of an interval have that of its middle
        for name, one in every:
            faint, base = bool(_FAINT.search(name)), _END.sub("", name)
            color = colors.setdefault(base, _COLORS[len(colors) % len(_COLORS)])
            axes.plot(*_xy(one), color=color, label=name, linewidth=0.8 if faint else 1.3, ls="--" if faint else "-")
    if "min" in defaults:
        axes.set_ylim(bottom=0)
    for step in defaults.get("thresholds", {}).get("steps", []):
        if step["value"] is not None and step["value"] <= axes.get_ylim()[1]:
            axes.axhline(step["value"], color=_NAMED[step["color"]], linewidth=0.8, ls=":")
    if every:
        _legend(axes)


def _stack(axes: Axes, every: Sequence[tuple[str, Series]]) -> None:
    times = sorted({at for _, one in every for at, _ in one.points})
    rows = [[dict(one.points).get(at, 0.0) for at in times] for _, one in every]
    colors = [_COLORS[place % len(_COLORS)] for place in range(len(every))]
    axes.stackplot(times, np.nan_to_num(rows), labels=[name for name, _ in every], colors=colors, alpha=0.75)


def _xy(one: Series) -> tuple[list[float], list[float]]:
    return [at for at, _ in one.points], [value for _, value in one.points]


def _legend(axes: Axes) -> None:
    handles, names = axes.get_legend_handles_labels()
    shown = names[:_MOST_IN_LEGEND]
    if len(names) > len(shown):
        shown[-1] = f"+ {len(names) - len(shown) + 1} more"
    shown = [name if len(name) <= 34 else name[:33] + "…" for name in shown]
    longest = max(map(len, shown))
    width = axes.get_window_extent().width / axes.figure.dpi * 72  # points
    columns = max(1, min(4, int(width / (longest * 3.3 + 22))))
    rows = max(1, min(2, -(-len(shown) // columns)))
    keep = rows * columns
    axes.legend(
        handles[:keep], shown[:keep], loc="upper left", bbox_to_anchor=(-0.02, -0.13), ncols=columns, frameon=False,
        fontsize=5.8, handlelength=1.1, columnspacing=0.9, handletextpad=0.4, labelspacing=0.25, borderpad=0,
    )  # fmt: skip


def _figure(axes: Axes, panel: Panel, answers: Answers) -> None:
    axes.axis("off")
    series = [(legend, one) for legend, found in answers for one in found]
    if not series:
        axes.text(0.5, 0.5, "no data", ha="center", va="center", size=14, color=GREY)
        return
    if panel.get("options", {}).get("textMode") == "name":
        words = "\n".join(_named(legend, one) for legend, one in series[:4])
        axes.text(0.5, 0.5, words, ha="center", va="center", size=11, linespacing=1.3)
        return
    value = next((v for _, v in reversed(series[0][1].points) if not math.isnan(v)), math.nan)
    decimals = panel["fieldConfig"]["defaults"].get("decimals")
    text = formatted(value, _unit(panel)) if decimals is None else f"{value:,.{int(decimals)}f}"
    color = _color(panel, value)
    for mapping in panel["fieldConfig"]["defaults"].get("mappings", []):
        if known := mapping["options"].get(f"{value:g}"):
            color, text = _NAMED[known["color"]], known["text"]
    if panel.get("options", {}).get("colorMode") == "background":
        axes.axis("on")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_facecolor(color)
        color = "white"
    axes.text(0.5, 0.5, text, ha="center", va="center", size=19, weight="bold", color=color, transform=axes.transAxes)


def _color(panel: Panel, value: float) -> str:
    color = "text"
    for step in panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", []):
        if step["value"] is None or value >= step["value"]:
            color = step["color"]
    return _NAMED[color]


def _heat(axes: Axes, panel: Panel, answers: Answers) -> None:
    """Prometheus's buckets count all below; the picture shows each alone."""
    _over_time(axes)
    axes.grid(visible=False)
    (_, series) = answers[0]
    buckets = sorted((float(one.labels["le"]), dict(one.points)) for one in series)
    finite = [(edge, points) for edge, points in buckets if math.isfinite(edge)]
    times = sorted({at for _, points in finite for at in points})
    if len(times) < 2:
        return
    below = np.array([[points.get(at, 0.0) for at in times] for _, points in finite])
    alone = np.diff(np.vstack([np.zeros(len(times)), below]), axis=0)
    edges = [0.0, *(edge for edge, _ in finite)]
    step = times[1] - times[0]
    shown = np.ma.masked_less_equal(alone, 0.05)
    axes.pcolormesh([*times, times[-1] + step], edges, shown, cmap="Oranges", vmin=0, shading="flat")
    axes.set_ylim(0, edges[-1])


def _bars(axes: Axes, panel: Panel, answers: Answers) -> None:
    every = [(_named(legend, one), one.points[-1][1]) for legend, series in answers for one in series]
    every = [pair for pair in every if not math.isnan(pair[1])]
    every = sorted(every, key=lambda pair: pair[1], reverse=True)[:14]
    names = [name if len(name) <= 30 else name[:29] + "…" for name, _ in every]
    axes.barh(range(len(every)), [value for _, value in every], color="#1f60c4", height=0.7)
    axes.set_yticks(range(len(every)), names)
    axes.invert_yaxis()
    axes.tick_params(length=0, labelsize=6, colors=GREY)
    axes.set_xticks([])
    most = max((value for _, value in every), default=1.0) or 1.0
    axes.set_xlim(0, most * 1.2)
    for place, (_, value) in enumerate(every):
        axes.text(value + most * 0.015, place, formatted(value, _unit(panel)), va="center", size=6)
    for side in axes.spines.values():
        side.set_visible(False)


def _table(axes: Axes, panel: Panel, answers: Answers) -> None:
    """The queries' rows joined by their labels, as Grafana's `merge` does."""
    axes.axis("off")
    renamed = list(_renamed(panel))
    rows: dict[tuple[tuple[str, str], ...], dict[int, float]] = {}
    for place, (_, series) in enumerate(answers):
        for one in series:
            labels = tuple(sorted((k, v) for k, v in one.labels.items() if k != "__name__"))
            rows.setdefault(labels, {})[place] = one.points[-1][1]
    columns = sorted({name for labels in rows for name, _ in labels})
    heads = [*columns, *(renamed[place] if place < len(renamed) else "value" for place in range(len(answers)))]
    cells = []
    for labels, values in sorted(rows.items())[:12]:
        known = dict(labels)
        told = [known.get(name, "")[:16] for name in columns]
        figures = [formatted(values[place], _unit(panel)) if place in values else "" for place in range(len(answers))]
        cells.append([*told, *figures])
    if not cells:
        return
    table = axes.table(cells, colLabels=heads, loc="upper center", cellLoc="left", edges="horizontal")
    table.auto_set_font_size(False)
    table.set_fontsize(6.3)
    for cell in table.get_celld().values():
        cell.set_edgecolor("#dcdee0")
        cell.set_linewidth(0.4)
        cell.set_height(min(0.125, 1.0 / (len(cells) + 1)))


def _renamed(panel: Panel) -> Sequence[str]:
    for step in panel.get("transformations", []):
        if step["id"] == "organize":
            return list(step["options"]["renameByName"].values())
    return []


def _states(axes: Axes, panel: Panel, answers: Answers) -> None:
    _over_time(axes)
    axes.grid(visible=False)
    every = [(_named(legend, one), one) for legend, series in answers for one in series]
    words = panel["fieldConfig"]["defaults"]["mappings"][0]["options"]
    for place, (_, one) in enumerate(every):
        step = one.points[1][0] - one.points[0][0] if len(one.points) > 1 else 1.0
        for at, value in one.points:
            color = _NAMED[words[f"{value:g}"]["color"]]
            axes.broken_barh([(at, step * 1.05)], (place - 0.36, 0.72), facecolors=color, linewidth=0)
        if one.points:
            axes.text(one.points[-1][0], place, words[f"{one.points[-1][1]:g}"]["text"] + " ", ha="right", va="center",
                      size=6.5, color="white")  # fmt: skip
    axes.set_yticks(range(len(every)), [name for name, _ in every])
    axes.tick_params(axis="y", labelsize=6)
    axes.set_ylim(-0.6, max(len(every), 1) - 0.4)


PAINTERS: Mapping[str, Painted] = {
    "timeseries": Painted(_lines),
    "stat": Painted(_figure, left=0.3, bottom=0.3, over_time=False),
    "heatmap": Painted(_heat, bottom=0.9),
    "bargauge": Painted(_bars, left=3.2, bottom=0.3, over_time=False),
    "table": Painted(_table, left=0.3, bottom=0.3, over_time=False),
    "state-timeline": Painted(_states, left=2.9, bottom=0.9),
}
