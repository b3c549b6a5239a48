"""What the shipped dashboards and rules ask of Prometheus: every expression, and the metrics that it names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import promql_parser
import yaml

CHART = Path(__file__).parent.parent / "wardgate"
DASHBOARD_FILES = CHART / "dashboards"
RULE_FILES = CHART / "rules"

_VARIABLE = re.compile(r"\$\{?(\w+)\}?")


@dataclass(frozen=True, slots=True)
class Expression:
    """`of`: the panel, annotation or rule that asks."""

    of: str
    text: str


def panel_expressions(dashboard: Mapping[str, Any]) -> Iterator[Expression]:
    """Of a dashboard as JSON, folded rows too."""
    for panel in panels(dashboard):
        for target in panel["targets"]:
            yield Expression(f"{dashboard['title']} / {panel['title']} / {target['refId']}", target["expr"])


def annotation_expressions(dashboard: Mapping[str, Any]) -> Iterator[Expression]:
    for mark in dashboard["annotations"]["list"]:
        yield Expression(f"{dashboard['title']} / {mark['name']}", mark["expr"])


def panels(dashboard: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panel["panels"]
        else:
            yield panel


def rules(kind: str) -> Iterator[dict[str, Any]]:
    """Every rule of the shipped files that is an `alert`, or a `record`."""
    for file in sorted(RULE_FILES.glob("*.yaml")):
        for group in yaml.safe_load(file.read_text())["groups"]:
            yield from (rule for rule in group["rules"] if kind in rule)


def dashboards() -> Sequence[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted(DASHBOARD_FILES.glob("*.json"))]


def filled_in(expression: str, rate_interval: str, time_range: str) -> str:
    """With Grafana's variables replaced: all values of the dashboard's own, and these durations."""
    own = {"__rate_interval": rate_interval, "__range": time_range, "__interval": rate_interval}
    return _VARIABLE.sub(lambda match: own.get(match[1], ".*"), expression)


def metrics_of(expression: str) -> frozenset[str]:
    """The names of the series that an expression reads. Raises ValueError where it is not PromQL."""
    found: set[str] = set()

    def note(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.VectorSelector) and node.name:
            found.add(node.name)

    promql_parser.walk(promql_parser.parse(expression), note)
    return frozenset(found)
