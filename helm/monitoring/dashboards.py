"""The dashboards as JSON: `python -m helm.monitoring.dashboards` renews what helm/wardgate/dashboards has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model

from helm.monitoring.annotations import annotated
from helm.monitoring.panels import DATASOURCE, Row
from helm.monitoring.probes import PROBES
from helm.monitoring.rows import (
    capacity,
    coverage,
    dependencies,
    drift,
    explanations,
    overview,
    policy,
    robustness,
    rollout,
    scores,
)

FOLDER = Path(__file__).parent.parent / "wardgate" / "dashboards"

OVERVIEW = (
    overview.ROW, policy.ROW, scores.ROW, robustness.ROW, explanations.ROW, capacity.ROW, coverage.ROW, drift.ROW,
    rollout.ROW, dependencies.ROW,
)  # fmt: skip
_COLUMNS = 24


def overview_dashboard() -> model.Dashboard:
    start = _started("Wardgate", "wardgate-overview", "What the guardrail decides, costs and lets through.")
    for name, label, query in (
        ("policy", "Policy", 'label_values(wardgate_policy_info{job=~"$job"}, policy)'),
        ("model", "Reward model", 'label_values(wardgate_reward_count{job=~"$job"}, model)'),
        ("wrapped", "Wrapped model", 'label_values(wardgate_model_tokens_total{job=~"$job"}, model)'),
        ("suite", "Probes", 'label_values(wardgate_probe_success_ratio{job=~"$job"}, suite)'),
    ):
        start = start.with_variable(_choice(name, label, query))
    return _filled(annotated(start.with_variable(_runbooks())), OVERVIEW)


def probes_dashboard() -> model.Dashboard:
    start = _started("Wardgate probes", "wardgate-probes", "What the last runs of the robustness probes found.")
    for name, label, query in (
        ("suite", "Suite", 'label_values(wardgate_probe_success_ratio{job=~"$job"}, suite)'),
        ("category", "Category", 'label_values(wardgate_probe_success_ratio{suite=~"$suite"}, category)'),
    ):
        start = start.with_variable(_choice(name, label, query))
    return _filled(annotated(start.with_variable(_runbooks())), PROBES)


DASHBOARDS: Mapping[str, Callable[[], model.Dashboard]] = {
    "wardgate-overview.json": overview_dashboard,
    "wardgate-probes.json": probes_dashboard,
}


def as_json(dashboard: model.Dashboard) -> str:
    return JSONEncoder(sort_keys=True, indent=1).encode(dashboard) + "\n"


def _started(title: str, uid: str, text: str) -> build.Dashboard:
    others = build.DashboardLink("Wardgate").type(model.DashboardLinkType.DASHBOARDS).tags(["wardgate"])
    runbooks = build.DashboardLink("Runbooks").type(model.DashboardLinkType.LINK).url("${runbooks}/README.md")
    source = build.DatasourceVariable("datasource").label("Data source").type("prometheus")
    dashboard = build.Dashboard(title).uid(uid).description(text).tags(["wardgate"])
    dashboard = dashboard.tooltip(model.DashboardCursorSync.CROSSHAIR).refresh("30s").time("now-3h", "now")
    dashboard = dashboard.link(others.as_dropdown(False).include_vars(False).keep_time(True))
    dashboard = dashboard.link(runbooks.target_blank(True)).with_variable(source)
    dashboard = dashboard.with_variable(_choice("job", "Job", "label_values(wardgate_build_info, job)"))
    return dashboard.with_variable(
        _choice("instance", "Replica", 'label_values(wardgate_build_info{job=~"$job"}, instance)')
    )


def _choice(name: str, label: str, query: str) -> build.QueryVariable:
    """Any number of a label's values; all of them, also those without the label, unless chosen."""
    everything = model.VariableOption(selected=True, text=["All"], value=["$__all"])
    variable = build.QueryVariable(name).label(label).datasource(DATASOURCE)
    variable = variable.query({"query": query, "refId": name}).multi(True).include_all(True).all_value(".*")
    return (
        variable.current(everything)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
    )


def _runbooks() -> build.TextBoxVariable:
    """Where the reader's copy of docs/runbooks is served."""
    where = "docs/runbooks"
    chosen = model.VariableOption(selected=True, text=where, value=where)
    return build.TextBoxVariable("runbooks").label("Runbooks at").default_value(where).current(chosen)


def _filled(start: build.Dashboard, rows: Sequence[Row]) -> model.Dashboard:
    """Places every panel from left to right, and gives it a number that no other has."""
    dashboard = start.build()
    dashboard.panels = []
    top = number = 0
    for row in rows:
        number += 1
        head = model.RowPanel(
            collapsed=row.folded, title=row.title, id_val=number, grid_pos=model.GridPos(h=1, w=_COLUMNS, x=0, y=top)
        )
        panels = [builder.build() for builder in row.panels]
        top, left, tallest = top + 1, 0, 0
        for panel in panels:
            number += 1
            assert panel.grid_pos is not None
            if left + panel.grid_pos.w > _COLUMNS:
                top, left, tallest = top + tallest, 0, 0
            panel.id_val = number
            panel.grid_pos.x, panel.grid_pos.y = left, top
            left, tallest = left + panel.grid_pos.w, max(tallest, panel.grid_pos.h)
        top += tallest
        if row.folded:
            head.panels = panels
        dashboard.panels.append(head)
        if not row.folded:
            dashboard.panels += panels
    return dashboard


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, make in DASHBOARDS.items():
        (FOLDER / name).write_text(as_json(make()))


if __name__ == "__main__":
    main()
