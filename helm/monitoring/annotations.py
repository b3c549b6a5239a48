"""What happened, as marks on every panel: reloads, promotions, probe runs."""

from __future__ import annotations

from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as model

from helm.monitoring.panels import DATASOURCE, REPLICAS


class _Mark(model.AnnotationQuery):
    """Of a Prometheus datasource, whose keys the SDK's class leaves out."""

    def __init__(self, name: str, color: str, expr: str, title: str, value_is_time: bool) -> None:
        super().__init__(name=name, datasource=DATASOURCE, icon_color=color, expr=expr)
        self._title = title
        self._value_is_time = value_is_time

    def to_json(self) -> dict[str, object]:
        own = {"titleFormat": self._title, "useValueForTime": "on" if self._value_is_time else False, "step": "30s"}
        return super().to_json() | own


@dataclass(frozen=True, slots=True)
class _Made(Builder[model.AnnotationQuery]):
    mark: _Mark

    def build(self) -> model.AnnotationQuery:
        return self.mark


_PROMOTED = (
    f'wardgate_reward_model_info{{{REPLICAS},role="active"}}'
    f' unless on (job, instance, digest) wardgate_reward_model_info{{{REPLICAS},role="active"}} offset 1m'
)

ANNOTATIONS = [
    _Mark("Policies loaded", "blue", f"max by (job) (wardgate_policy_loaded_timestamp_seconds{{{REPLICAS}}}) * 1000",
          "Policies loaded", value_is_time=True),
    _Mark("Reward model active", "purple", f"count by (version) ({_PROMOTED})", "{{version}} is active",
          value_is_time=False),
    _Mark("Probe run done", "orange",
          f"max by (suite) (wardgate_probe_last_success_timestamp_seconds{{{REPLICAS}}}) * 1000", "Probes: {{suite}}",
          value_is_time=True),
]  # fmt: skip


def annotated(dashboard: build.Dashboard) -> build.Dashboard:
    for mark in ANNOTATIONS:
        dashboard = dashboard.annotation(_Made(mark))
    return dashboard
