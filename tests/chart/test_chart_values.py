"""Values that are not taken: by the schema what is misspelt or out of range, by the chart what contradicts itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

POSTGRES = {"store": {"url": "postgresql://wardgate@db/wardgate"}}
TLS = {"tls": {"existingSecret": "tls"}}
ADMINS = {"auth": {"adminTokens": {"existingSecret": "admins"}}}
OPENAI = {"kind": "openai", "base_url": "http://vllm:8000/v1", "model": "m"}
DAILY = {"suite": "guard", "every": "24h"}
NIGHTLY = {"name": "nightly", "schedule": "30 3 * * *", "suite": "guard"}

AGAINST_THE_SCHEMA: list[tuple[dict[str, Any], str]] = [
    ({"replicas": 2}, "replicas"),
    ({"replicaCount": "two"}, "/replicaCount"),
    ({"replicaCount": -1}, "/replicaCount"),
    ({"image": {"tag": "latest"}}, "/image/tag"),
    ({"image": {"tag": "a b"}}, "/image/tag"),
    ({"image": {"digest": "sha256:abc"}}, "/image/digest"),
    ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy"),
    ({"imagePullSecrets": ["registry"]}, "/imagePullSecrets/0"),
    ({"config": {"grcp": {}}}, "grcp"),
    ({"config": {"grpc": {"drain": 5}}}, "drain"),
    ({"config": {"grpc": {"host": "::"}}}, "host"),
    ({"config": {"grpc": {"tokens_file": "/tokens"}}}, "tokens_file"),
    ({"config": {"grpc": {"max_message_bytes": 12}}}, "/config/grpc/max_message_bytes"),
    ({"config": {"http": {"port": 1}}}, "http"),
    ({"config": {"model_cache": "/tmp"}}, "model_cache"),
    ({"config": {"backend": {"kind": "azure"}}}, "/config/backend/kind"),
    ({"config": {"backend": {"kind": "openai", "base_url": "http://vllm"}}}, "model"),
    ({"config": {"backend": OPENAI | {"base_url": "vllm:8000"}}}, "/config/backend/base_url"),
    ({"config": {"backend": OPENAI | {"api_key_file": "/key"}}}, "api_key_file"),
    ({"config": {"backend": {"kind": "none", "model": "m"}}}, "model"),
    ({"config": {"store": {"url": "sqlite:////tmp/w.db"}}}, "url"),
    ({"config": {"log": {"level": "loud"}}}, "/config/log/level"),
    ({"config": {"scoring": {"max_padding": 1}}}, "/config/scoring/max_padding"),
    ({"config": {"models": [{"name": "guard"}]}}, "source"),
    ({"config": {"models": [{"name": "g", "source": "file:/m", "prests": "x"}]}}, "prests"),
    ({"config": {"probing": {"schedules": [{"suite": "guard", "every": "often"}]}}}, "/schedules/0/every"),
    ({"config": {"calibrations": {"drift_window": 3}}}, "/config/calibrations/drift_window"),
    ({"store": {"url": "mysql://db/wardgate"}}, "/store/url"),
    ({"store": {"persistence": {"size": "big"}}}, "/store/persistence/size"),
    ({"tls": {"secret": "tls"}}, "secret"),
    ({"tls": {"certManager": {"duration": "90 days"}}}, "/tls/certManager/duration"),
    ({"auth": {"tokens": {"existingSecret": "Wrong_Name"}}}, "/auth/tokens/existingSecret"),
    ({"service": {"type": "ExternalName"}}, "/service/type"),
    ({"service": {"port": 70000}}, "/service/port"),
    ({"healthChecks": {"protocol": "tcp"}}, "/healthChecks/protocol"),
    ({"healthChecks": {"liveness": {"path": "/"}}}, "path"),
    ({"lifecycle": {"preStopSleepSeconds": -1}}, "/lifecycle/preStopSleepSeconds"),
    ({"podDisruptionBudget": {"maxUnavailable": 0}}, "/podDisruptionBudget/maxUnavailable"),
    ({"networkPolicy": {"egress": {"internet": True}}}, "internet"),
    ({"autoscaling": {"podMetrics": [{"name": "cpu", "averageValue": "1"}]}}, "/autoscaling/podMetrics/0/name"),
    ({"keda": {"minReplicas": 0}}, "/keda/minReplicas"),
    ({"keda": {"prometheus": {"threshold": 0}}}, "/keda/prometheus/threshold"),
    ({"metrics": {"serviceMonitor": {"interval": "soon"}}}, "/metrics/serviceMonitor/interval"),
    ({"probeCronJobs": [NIGHTLY | {"schedule": "nightly"}]}, "/probeCronJobs/0/schedule"),
    ({"probeCronJobs": [{"name": "nightly", "schedule": "30 3 * * *"}]}, "suite"),
    ({"policies": {"files": {"support.yml": "name: support"}}}, "support.yml"),
    ({"modelCache": {"accessModes": ["ReadOnlyMany"]}}, "/modelCache/accessModes/0"),
    ({"resources": {"limits": {"memory": "lots"}}}, "/resources/limits/memory"),
]  # fmt: skip

CONTRADICTIONS: list[tuple[dict[str, Any], str]] = [
    ({"replicaCount": 2}, "store.url"),
    ({"autoscaling": {"enabled": True}}, "store.url"),
    ({"keda": {"enabled": True, "prometheus": {"serverAddress": "http://p"}}}, "store.url"),
    (POSTGRES | {"autoscaling": {"enabled": True}, "keda": {"enabled": True}}, "take one"),
    (POSTGRES | {"keda": {"enabled": True}}, "keda.prometheus.serverAddress"),
    (POSTGRES | {"autoscaling": {"enabled": True, "minReplicas": 5, "maxReplicas": 3}}, "minReplicas is over"),
    (POSTGRES | {"autoscaling": {"enabled": True, "targetCPUUtilizationPercentage": 0}}, "nothing to scale by"),
    (POSTGRES | {"autoscaling": {"enabled": True}, "resources": {"requests": {"cpu": None}}}, "resources.requests.cpu"),
    ({"store": {"url": "postgresql://wardgate:secret@db/wardgate"}}, "store.password.existingSecret"),
    ({"store": {"password": {"existingSecret": "p"}}}, "postgresql://"),
    ({"store": {"ca": {"existingSecret": "p"}}}, "postgresql://"),
    ({"store": POSTGRES["store"] | {"persistence": {"enabled": True}}}, "store.persistence"),
    ({"store": {"persistence": {"existingClaim": "mine"}}}, "store.persistence.enabled"),
    ({"tls": {"existingSecret": "tls", "certManager": {"enabled": True, "issuerRef": {"name": "i"}}}}, "take one"),
    ({"tls": {"certManager": {"enabled": True}}}, "issuerRef.name"),
    ({"tls": {"clientCA": {"existingSecret": "ca"}}}, "tls.existingSecret"),
    ({"tls": {"existingSecret": "tls", "clientCA": {"ownSecret": "own"}}}, "mutual TLS"),
    ({"auth": {"tokens": {"existingSecret": "tokens"}}}, "in the clear"),
    (ADMINS, "in the clear"),
    (TLS | {"healthChecks": {"protocol": "grpc"}}, "healthChecks.protocol"),
    ({"upstream": {"apiKey": {"existingSecret": "key"}}}, "kind: openai"),
    ({"config": {"backend": OPENAI}, "upstream": {"ca": {"existingSecret": "ca"}}}, "https://"),
    ({"terminationGracePeriodSeconds": 30}, "must be 35 or more"),
    ({"config": {"grpc": {"drain_s": 60.5}}}, "must be 76 or more"),
    ({"config": {"grpc": {"shutdown_delay_s": 30}}}, "must be 65 or more"),
    ({"policies": {"files": {"a.yaml": "name: a"}, "existingConfigMap": "b"}}, "policies.files"),
    ({"calibrations": {"files": {"a.json": "{}"}, "existingConfigMap": "b"}}, "calibrations.files"),
    ({"modelCache": {"existingClaim": "mine"}}, "modelCache.enabled"),
    ({"modelCache": {"enabled": True, "ephemeral": True, "existingClaim": "mine"}}, "take one"),
    ({"modelCache": {"enabled": True, "ephemeral": True, "pull": {"enabled": False}}}, "modelCache.pull.enabled"),
    (POSTGRES | {"replicaCount": 2, "modelCache": {"enabled": True}}, "ReadWriteMany"),
    ({"store": {"persistence": {"enabled": True}}, "strategy": {"type": "RollingUpdate"}}, "strategy"),
    ({"rollout": {"enabled": True}}, "auth.adminTokens"),
    (TLS | ADMINS | {"rollout": {"existingClaim": "versions"}}, "rollout.enabled"),
    ({"grpcRoute": {"enabled": True}}, "grpcRoute.parentRefs"),
    ({"metrics": {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}}, "take one"),
    ({"metrics": {"serviceMonitor": {"enabled": True}, "service": {"enabled": False}}}, "metrics.service.enabled"),
    ({"probeCronJobs": [NIGHTLY]}, "auth.adminTokens"),
    (TLS | ADMINS | {"probeCronJobs": [NIGHTLY, NIGHTLY]}, "two are named nightly"),
    (TLS | ADMINS | {"probeCronJobs": [NIGHTLY], "config": {"probing": {"schedules": [DAILY]}}}, "both run the suite"),
    ({"tls": {"existingSecret": "tls", "clientCA": {"existingSecret": "ca"}}, **ADMINS, "probeCronJobs": [NIGHTLY]},
     "tls.clientCA.ownSecret"),
    ({"extraEnv": [{"name": "WARDGATE_GRPC__PORT", "value": "1"}]}, "WARDGATE_GRPC__PORT"),
]  # fmt: skip


@pytest.mark.parametrize(("values", "names"), AGAINST_THE_SCHEMA)
def test_a_value_that_is_misspelt_or_out_of_range_is_named(
    values: dict[str, Any], names: str, refused: Callable[[dict[str, Any]], str]
) -> None:
    said = refused(values)
    assert "don't meet the specifications of the schema" in said
    assert names in said


@pytest.mark.parametrize(("values", "names"), CONTRADICTIONS)
def test_values_that_contradict_each_other_are_refused_with_the_mend(
    values: dict[str, Any], names: str, refused: Callable[[dict[str, Any]], str]
) -> None:
    said = refused(values)
    assert "execution error" in said
    assert names in said
