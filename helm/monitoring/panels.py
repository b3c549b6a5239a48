"""The kinds of panel that the dashboards are made of, on grafana-foundation-sdk.

A panel says what it shows, asks through `$datasource`, and links to the runbooks of the alerts that speak of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import TypeAlias, TypeVar

from grafana_foundation_sdk.builders import bargauge, common, heatmap, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as shown
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

DATASOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
RED, AMBER, GREEN, GREY = "red", "orange", "green", "text"
REPLICAS = 'job=~"$job",instance=~"$instance"'
"""Label matchers that every expression has."""

PanelBuilder: TypeAlias = Builder[model.Panel]
Steps: TypeAlias = Sequence[tuple[float, str]]
_Drawn = TypeVar(
    "_Drawn", timeseries.Panel, stat.Panel, heatmap.Panel, table.Panel, bargauge.Panel, statetimeline.Panel
)


@dataclass(frozen=True, slots=True)
class Query:
    """`legend` may name labels: `{{policy}}`."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under a title; a `folded` one asks nothing until it is opened."""

    title: str
    panels: Sequence[PanelBuilder]
    folded: bool = True


@dataclass(frozen=True, slots=True)
class About:
    """What a panel says of itself. `width` is in columns of 24, `height` in Grafana's rows; `runbooks` name alerts."""

    title: str
    text: str
    runbooks: Sequence[str] = ()
    width: int = 8
    height: int = 7


def lines(
    about: About,
    *queries: Query,
    unit: str = "short",
    stacked: bool = False,
    most: float | None = None,
    limits: Steps = (),
    signed: bool = False,
) -> timeseries.Panel:
    """Lines over time; `stacked` ones are filled, `signed` ones may go below zero. `limits` are drawn dashed."""
    panel = _common(timeseries.Panel(), about, queries).unit(unit)
    panel = panel if signed else panel.min(0)
    panel = panel.legend(_legend()).tooltip(common.VizTooltipOptions().mode(shown.TooltipDisplayMode.MULTI))
    panel = panel.show_points(shown.VisibilityMode.NEVER).line_width(1).fill_opacity(60 if stacked else 8)
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(shown.StackingMode.NORMAL))
    if most is not None:
        panel = panel.max(most)
    if limits:
        style = common.GraphThresholdsStyleConfig().mode(shown.GraphTresholdsStyleMode.DASHED)
        panel = panel.thresholds(_steps("transparent", limits)).thresholds_style(style)
    return panel


def faint(panel: timeseries.Panel, legends: str) -> timeseries.Panel:
    """Draws the lines whose legend matches the expression dashed and thin: ends of intervals, thresholds."""
    dashes = model.DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [6, 6]})
    return panel.override_by_regexp(legends, [dashes, model.DynamicConfigValue("custom.fillOpacity", 0)])


def band(panel: timeseries.Panel, lower: str, upper: str) -> timeseries.Panel:
    """Fills from the line called `upper` down to `lower`, and draws neither."""
    unseen = model.DynamicConfigValue("custom.lineWidth", 0)
    filled = [
        unseen,
        model.DynamicConfigValue("custom.fillBelowTo", lower),
        model.DynamicConfigValue("custom.fillOpacity", 25),
    ]
    hidden = [unseen, model.DynamicConfigValue("custom.fillOpacity", 0)]
    return panel.override_by_name(upper, filled).override_by_name(lower, hidden)


def figure(
    about: About, query: Query, unit: str = "short", limits: Steps = (), words: dict[str, tuple[str, str]] | None = None
) -> stat.Panel:
    """One figure, large, in the colour of the last limit that it reached. `words` stand for values, with a colour."""
    panel = _common(stat.Panel(), about, [query]).unit(unit).no_value("no data")
    panel = panel.thresholds(_steps(GREEN if limits else GREY, limits))
    panel = panel.color_mode(shown.BigValueColorMode.BACKGROUND if limits else shown.BigValueColorMode.VALUE)
    panel = panel.graph_mode(shown.BigValueGraphMode.NONE if words else shown.BigValueGraphMode.AREA)
    if words:
        results = {value: model.ValueMappingResult(text=text, color=color) for value, (text, color) in words.items()}
        panel = panel.mappings([model.ValueMap(options=results)])
    return panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))


def names(about: About, query: Query) -> stat.Panel:
    """The legends of the series that there are, as text."""
    panel = _common(stat.Panel(), about, []).with_target(_target(query, 0).instant())  # or those before were named too
    panel = panel.text_mode(shown.BigValueTextMode.NAME)
    return panel.color_mode(shown.BigValueColorMode.NONE).graph_mode(shown.BigValueGraphMode.NONE)


def heat(about: About, expr: str, unit: str = "short") -> heatmap.Panel:
    """A histogram's buckets over time; `expr` gives increases by `le`."""
    target = _target(Query(expr, "{{le}}"), 0).format(PromQueryFormat.HEATMAP)
    color = heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(64)
    panel = _common(heatmap.Panel(), about, []).with_target(target).calculate(False).color(color)
    return panel.y_axis(heatmap.YAxisConfig().unit(unit)).cell_gap(1).show_tooltip()


def bars(about: About, query: Query, unit: str = "short") -> bargauge.Panel:
    """The latest value of every series as a bar."""
    panel = _common(bargauge.Panel(), about, []).with_target(_target(query, 0).instant())
    panel = panel.orientation(shown.VizOrientation.HORIZONTAL).display_mode(shown.BarGaugeDisplayMode.BASIC)
    color = build.FieldColor().mode(model.FieldColorModeId.FIXED).fixed_color("blue")
    return panel.unit(unit).min(0).color_scheme(color).reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))


def rows(about: About, *queries: Query, hidden: Sequence[str] = (), unit: str = "short") -> table.Panel:
    """A table: labels as columns, and a column of values for each query, under its legend."""
    panel = _common(table.Panel(), about, []).unit(unit)
    for place, query in enumerate(queries):
        panel = panel.with_target(_target(query, place).instant().format(PromQueryFormat.TABLE))
    several = len(queries) > 1
    values = {
        f"Value #{ascii_uppercase[place]}" if several else "Value": one.legend for place, one in enumerate(queries)
    }
    unseen = {name: True for name in ("Time", *hidden, *(value for value, legend in values.items() if not legend))}
    renamed = {value: legend for value, legend in values.items() if legend}
    if several:
        panel = panel.with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
    tidy = {"excludeByName": unseen, "renameByName": renamed}
    return panel.with_transformation(model.DataTransformerConfig(id_val="organize", options=tidy))


def states(about: About, query: Query, words: dict[str, tuple[str, str]]) -> statetimeline.Panel:
    """One bar over time for every series, in the words and colours of its values."""
    results = {value: model.ValueMappingResult(text=text, color=color) for value, (text, color) in words.items()}
    panel = _common(statetimeline.Panel(), about, [query]).mappings([model.ValueMap(options=results)])
    return panel.show_value(shown.VisibilityMode.AUTO).row_height(0.8).merge_values(True)


def _common(panel: _Drawn, about: About, queries: Sequence[Query]) -> _Drawn:
    panel = panel.title(about.title).description(about.text).span(about.width).height(about.height)
    panel = panel.datasource(DATASOURCE)
    if about.runbooks:
        panel = panel.links([_runbook(alert) for alert in about.runbooks])
    for place, query in enumerate(queries):
        panel = panel.with_target(_target(query, place))
    return panel


def _target(query: Query, place: int) -> Dataquery:
    target = Dataquery().expr(query.expr).ref_id(ascii_uppercase[place]).datasource(DATASOURCE)
    return target.legend_format(query.legend) if query.legend else target


def _runbook(alert: str) -> build.DashboardLink:
    link = build.DashboardLink(f"Runbook: {alert}").type(model.DashboardLinkType.LINK)
    return link.url(f"${{runbooks}}/{alert}.md").target_blank(True)


def _legend() -> common.VizLegendOptions:
    legend = common.VizLegendOptions().show_legend(True).display_mode(shown.LegendDisplayMode.LIST)
    return legend.placement(shown.LegendPlacement.BOTTOM)


def _steps(ground: str, limits: Steps) -> build.ThresholdsConfig:
    steps = [model.Threshold(value=None, color=ground)]
    steps += [model.Threshold(value=value, color=color) for value, color in limits]
    return build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)
