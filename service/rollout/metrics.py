"""The series of a rollout. Gauges are read from the standing of the moment, so that no stale one is ever left."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from guards.types import Action, ModelIdentity
from service.exchange import ModelRole, Provenance


@dataclass(frozen=True, slots=True)
class RoleInfo:
    """`weight`: the share of requests that the version decides, [0, 1]."""

    role: ModelRole
    version: str
    digest: str
    weight: float


class RolloutMetrics(Collector):
    def __init__(self, registry: CollectorRegistry) -> None:
        self._roles: Sequence[RoleInfo] = ()  # replaced whole: a scrape on another thread sees the old or the new
        registry.register(self)
        self._scored = Counter(
            "wardgate_scored_requests_total",
            "Requests, by the version of the reward model that they began on and what was decided.",
            ["version", "digest", "role", "action"], registry=registry,
        )  # fmt: skip
        self.changes = Counter(
            "wardgate_rollout_changes_total", "Calls that would change the rollout.", ["result"], registry=registry
        )
        self._evaluations = Counter(
            "wardgate_shadow_evaluations_total", "Texts judged again by a shadow version.",
            ["version", "digest", "result"], registry=registry,
        )  # fmt: skip
        self._disagreements = Counter(
            "wardgate_shadow_disagreements_total", "Texts that a shadow version would have decided otherwise.",
            ["version", "digest", "direction"], registry=registry,
        )  # fmt: skip

        for result in ("ok", "refused", "failed"):  # from zero, or Prometheus misses the first one
            self.changes.labels(result)

    def stand(self, roles: Sequence[RoleInfo]) -> None:
        self._roles = tuple(roles)
        for role in roles:
            if role.role is ModelRole.SHADOW:
                for result in ("agreed", "disagreed", "failed", "dropped", "incomparable"):
                    self._evaluations.labels(role.version, role.digest, result)
                for direction in ("would_block", "would_allow"):
                    self._disagreements.labels(role.version, role.digest, direction)

    def scored(self, provenance: Provenance, action: Action) -> None:
        """`action` is of the whole request."""
        model, role = provenance.model, provenance.role
        self._scored.labels(model.version, model.digest, role.value, action.name.lower()).inc()

    def shadowed(self, model: ModelIdentity, result: str, texts: int = 1) -> None:
        self._evaluations.labels(model.version, model.digest, result).inc(texts)

    def disagreed(self, model: ModelIdentity, direction: str) -> None:
        self._disagreements.labels(model.version, model.digest, direction).inc()

    def collect(self) -> Iterable[Metric]:
        """For Prometheus."""
        info = GaugeMetricFamily(
            "wardgate_reward_model_info", "The reward models in use.", labels=["role", "version", "digest"]
        )
        weight = GaugeMetricFamily(
            "wardgate_rollout_weight", "Share of requests that a version decides.", labels=["version", "digest"]
        )
        for role in self._roles:
            info.add_metric([role.role.value, role.version, role.digest], 1)
            weight.add_metric([role.version, role.digest], role.weight)
        yield info
        yield weight
