"""The dashboards that ship are those of the code, and what they say holds together."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from helm.monitoring.dashboards import DASHBOARDS, FOLDER, as_json
from helm.monitoring.expressions import (
    annotation_expressions,
    dashboards,
    filled_in,
    metrics_of,
    panel_expressions,
    panels,
    rules,
)

SHIPPED = {dashboard["title"]: dashboard for dashboard in dashboards()}
DEFINED_BY_GRAFANA = {"__rate_interval", "__range", "__interval"}


@pytest.fixture(params=SHIPPED)
def dashboard(request: pytest.FixtureRequest) -> dict[str, Any]:
    return SHIPPED[request.param]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_the_shipped_json_is_what_the_code_makes(name: str) -> None:
    assert (FOLDER / name).read_text() == as_json(DASHBOARDS[name]()), "run: make dashboards"


def test_nothing_else_is_shipped() -> None:
    assert {file.name for file in FOLDER.iterdir()} == set(DASHBOARDS)


def test_every_variable_that_is_used_is_defined(dashboard: dict[str, Any]) -> None:
    defined = {variable["name"] for variable in dashboard["templating"]["list"]} | DEFINED_BY_GRAFANA
    used = {name for one in panel_expressions(dashboard) for name in re.findall(r"\$\{?(\w+)", one.text)}
    links = [link["url"] for panel in panels(dashboard) for link in panel.get("links", [])]
    used |= {name for link in links for name in re.findall(r"\$\{(\w+)", link)}
    assert used <= defined
    assert defined - used <= {"datasource"} | DEFINED_BY_GRAFANA


def test_panels_have_numbers_of_their_own_and_do_not_overlap(dashboard: dict[str, Any]) -> None:
    every = [*panels(dashboard), *(panel for panel in dashboard["panels"] if panel["type"] == "row")]
    assert len({panel["id"] for panel in every}) == len(every)
    cells = [
        (x, y, panel["title"])
        for row in dashboard["panels"]
        for panel in ([row] if row["type"] != "row" else [row, *row["panels"]])
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    of_open = [(x, y) for x, y, title in cells if title not in _folded(dashboard)]
    assert len(set(of_open)) == len(of_open)
    assert all(0 <= x < 24 for x, _, _ in cells)


def _folded(dashboard: dict[str, Any]) -> set[str]:
    return {panel["title"] for row in dashboard["panels"] if row["type"] == "row" for panel in row["panels"]}


def test_every_panel_says_what_it_shows_and_asks_for_this_service_only(dashboard: dict[str, Any]) -> None:
    for panel in panels(dashboard):
        assert panel["title"]
        assert panel["description"]
        assert panel["targets"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        for target in panel["targets"]:
            selectors = re.findall(r"\{([^{}]*)\}", target["expr"])
            assert selectors
            assert all('job=~"$job",instance=~"$instance"' in one for one in selectors), target["expr"]


def test_links_lead_to_runbooks(dashboard: dict[str, Any]) -> None:
    alerts = {rule["alert"] for rule in rules("alert")}
    for panel in panels(dashboard):
        for link in panel.get("links", []):
            assert Path(link["url"]).stem in alerts, panel["title"]


def test_every_alert_has_a_panel_that_links_to_its_runbook() -> None:
    linked = {
        Path(link["url"]).stem
        for dashboard in SHIPPED.values()
        for panel in panels(dashboard)
        for link in panel.get("links", [])
    }
    # Nothing is shown of a service that is gone; the states of replicas are in the panel of WardgateNotReady.
    without = {"WardgateDown", "WardgateReplicaNotReady"}
    assert {rule["alert"] for rule in rules("alert")} - linked == without


def test_every_expression_is_promql(dashboard: dict[str, Any]) -> None:
    expressions = [*panel_expressions(dashboard), *annotation_expressions(dashboard)]
    assert expressions
    for one in expressions:
        assert metrics_of(filled_in(one.text, "30s", "3h")), one.of


def test_the_overview_has_its_rows() -> None:
    rows = [panel["title"] for panel in SHIPPED["Wardgate"]["panels"] if panel["type"] == "row"]
    assert rows == [
        "Overview",
        "Policy",
        "Scores",
        "Robustness",
        "Explanations",
        "Capacity",
        "Coverage and language",
        "Drift",
        "Rollout",
        "Dependencies",
    ]
