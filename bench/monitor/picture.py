"""A dashboard drawn with matplotlib from Prometheus's answers, panel by panel, where Grafana would put them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.monitor.painters import GREY, PAINTERS, Painted
from bench.monitor.prometheus import Prometheus
from helm.monitoring.expressions import filled_in

_COLUMNS = 24
_UNIT_IN = (0.72, 0.42)  # of a grid unit, width and height, in inches
_HEAD = 1.6  # grid units for the title of the picture
_GROUND, _PANEL, _INK = "#f4f5f5", "#ffffff", "#24292e"
_FIRST_ROWS = ("Overview", "Scores", "Robustness")


@dataclass(frozen=True, slots=True)
class _Placed:
    """In grid units from the top left of the picture; without a panel it is a row's title."""

    title: str
    left: float
    top: float
    width: float
    height: float
    panel: Mapping[str, Any] | None = None


def draw(
    asked: Prometheus, dashboard: Mapping[str, Any], folder: Path, start: float, end: float, rate_interval: str
) -> None:
    """`dashboard.png` has every row, `dashboard-first.png` some."""
    folder.mkdir(parents=True, exist_ok=True)
    mpl.rcParams.update({"font.size": 7, "font.family": "DejaVu Sans", "axes.edgecolor": GREY, "text.color": _INK})
    painted = _Drawer(asked, start, end, rate_interval)
    painted.save(_places(dashboard, None), folder / "dashboard.png", dashboard["title"], dpi=80)
    painted.save(_places(dashboard, _FIRST_ROWS), folder / "dashboard-first.png", dashboard["title"], dpi=95)


def _places(dashboard: Mapping[str, Any], rows: Sequence[str] | None) -> list[_Placed]:
    """All rows open, one under the other."""
    placed: list[_Placed] = []
    top = _HEAD
    for title, panels in _rows(dashboard):
        if rows is not None and title not in rows:
            continue
        placed.append(_Placed(title, 0, top, _COLUMNS, 1))
        top += 1
        first = min(panel["gridPos"]["y"] for panel in panels)
        for panel in panels:
            at = panel["gridPos"]
            placed.append(_Placed(panel["title"], at["x"], top + at["y"] - first, at["w"], at["h"], panel))
        top += max(panel["gridPos"]["y"] - first + panel["gridPos"]["h"] for panel in panels)
    return placed


def _rows(dashboard: Mapping[str, Any]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    rows: list[tuple[str, list[Mapping[str, Any]]]] = []
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            rows.append((panel["title"], list(panel["panels"])))
        else:
            rows[-1][1].append(panel)
    return rows


class _Drawer:
    def __init__(self, asked: Prometheus, start: float, end: float, rate_interval: str) -> None:
        self._asked = asked
        self._start, self._end = start, end
        self._rate_interval = rate_interval

    def save(self, placed: Sequence[_Placed], file: Path, title: str, dpi: int) -> None:
        height = max(one.top + one.height for one in placed) + 0.4
        figure = Figure((_COLUMNS * _UNIT_IN[0], height * _UNIT_IN[1]), facecolor=_GROUND)
        figure.text(0.006, 1 - 0.75 / height, title, size=15, weight="bold", va="center")
        figure.text(
            0.994, 1 - 0.75 / height, "drawn by `make monitor` from Prometheus's answers, not a picture of Grafana",
            size=9, color=GREY, ha="right", va="center",
        )  # fmt: skip
        for one in placed:
            if one.panel is None:
                figure.text(0.006, 1 - (one.top + 0.55) / height, f"▾ {one.title}", size=11, weight="bold", va="center")
            else:
                self._panel(figure, one, height)
        figure.savefig(file, dpi=dpi)

    def _panel(self, figure: Figure, one: _Placed, height: float) -> None:
        assert one.panel is not None
        frame = figure.add_axes(_box(one, height, 0.08, 0.08, 0.08, 0.08), facecolor=_PANEL)
        frame.set_xticks([])
        frame.set_yticks([])
        for side in frame.spines.values():
            side.set_color("#dcdee0")
        frame.text(
            0.25 / one.width, 1 - 0.45 / one.height, one.title, size=8, weight="bold", transform=frame.transAxes,
            va="center",
        )  # fmt: skip
        painter = PAINTERS[one.panel["type"]]
        inside = figure.add_axes(_box(one, height, painter.left, 0.9, 0.3, painter.bottom), facecolor="none")
        self._paint(inside, painter, one.panel)

    def _paint(self, axes: Axes, painter: Painted, panel: Mapping[str, Any]) -> None:
        span = f"{round(self._end - self._start)}s"
        answers = []
        for target in panel["targets"]:
            expr = filled_in(target["expr"], self._rate_interval, span)
            series = (
                self._asked.now(expr)
                if target.get("instant")
                else self._asked.over(expr, self._start, self._end, max(2.0, (self._end - self._start) / 120))
            )
            answers.append((target.get("legendFormat", ""), series))
        painter.paint(axes, panel, answers)
        if painter.over_time:
            axes.set_xlim(self._start, self._end)


def _box(
    one: _Placed, height: float, left: float, top: float, right: float, bottom: float
) -> tuple[float, float, float, float]:
    """Of axes inside a place, the margins in grid units, in matplotlib's shares of the figure."""
    return (
        (one.left + left) / _COLUMNS,
        1 - (one.top + one.height - bottom) / height,
        (one.width - left - right) / _COLUMNS,
        (one.height - top - bottom) / height,
    )
