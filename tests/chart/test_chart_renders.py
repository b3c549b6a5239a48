"""What the chart makes of values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.chart_renders import CHART, RENDERS, VALUES, golden, helm, without_files
from tests.chart.conftest import Object, Objects, Render, objects_of, rendered, server, settings_of

POSTGRES = {"store": {"url": "postgresql://wardgate@db/wardgate"}}
TLS = {"tls": {"existingSecret": "tls"}}


def pod_of(workload: Object) -> Object:
    match workload["kind"]:
        case "Pod":
            pod: Object = workload["spec"]
        case "Deployment":
            pod = workload["spec"]["template"]["spec"]
        case "CronJob":
            pod = workload["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return pod


def workloads(objects: Objects) -> list[Object]:
    return [found for (kind, _), found in objects.items() if kind in ("Deployment", "CronJob", "Pod")]


@pytest.mark.parametrize("values", VALUES, ids=lambda file: file.stem)
def test_the_render_is_the_one_that_was_reviewed(values: Path) -> None:
    assert without_files(rendered(values)) == golden(values).read_text(), "run: python -m deploy.chart_renders"


def test_there_is_no_reviewed_render_without_its_values() -> None:
    assert set(RENDERS.glob("*.yaml")) == {golden(values) for values in VALUES}


@pytest.mark.parametrize("values", VALUES, ids=lambda file: file.stem)
def test_helm_lints_without_a_warning(values: Path) -> None:
    done = helm("lint", "--strict", CHART, "--values", values)
    assert done.returncode == 0, done.stdout
    assert "1 chart(s) linted, 0 chart(s) failed" in done.stdout


@pytest.mark.parametrize("values", VALUES, ids=lambda file: file.stem)
def test_every_pod_is_locked_down(values: Path) -> None:
    objects = objects_of(rendered(values))
    assert ("NetworkPolicy", "wardgate") in objects
    assert ("PodDisruptionBudget", "wardgate") in objects
    for workload in workloads(objects):
        pod = pod_of(workload)
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            security = container["securityContext"]
            assert security["runAsUser"] == security["runAsGroup"] == 65532
            assert security["readOnlyRootFilesystem"] is True
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert {"requests", "limits"} <= set(container["resources"])
            assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("values", VALUES, ids=lambda file: file.stem)
def test_every_mount_has_a_volume_and_every_volume_a_mount(values: Path) -> None:
    for workload in workloads(objects_of(rendered(values))):
        pod = pod_of(workload)
        containers = [*pod["containers"], *pod.get("initContainers", [])]
        mounted = {mount["name"] for container in containers for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}


@pytest.mark.parametrize("values", VALUES, ids=lambda file: file.stem)
def test_every_configmap_and_claim_that_the_chart_names_is_there(values: Path) -> None:
    given = yaml.safe_load(values.read_text()) or {}
    foreign = json.dumps(given)
    objects = objects_of(rendered(values))
    for volume in pod_of(objects["Deployment", "wardgate"])["volumes"]:
        for kind, name in (
            ("ConfigMap", volume.get("configMap", {}).get("name")),
            ("PersistentVolumeClaim", volume.get("persistentVolumeClaim", {}).get("claimName")),
        ):
            assert name is None or (kind, name) in objects or f'"{name}"' in foreign, volume


def test_a_secret_is_mounted_by_the_keys_that_are_needed_and_no_other_user_reads_it(objects: Render) -> None:
    for volume in pod_of(objects(ci="production")["Deployment", "wardgate"])["volumes"]:
        if secret := volume.get("secret"):
            assert secret["defaultMode"] == 0o440
            assert secret["items"]


def test_without_tls_health_is_asked_by_grpc_and_with_it_by_http(objects: Render) -> None:
    plain = server(objects())
    assert plain["readinessProbe"]["grpc"] == {"port": 50051, "service": ""}
    assert plain["livenessProbe"]["grpc"] == plain["startupProbe"]["grpc"] == {"port": 50051, "service": "liveness"}
    secured = server(objects(TLS))
    assert secured["readinessProbe"]["httpGet"] == {"port": "http", "path": "/readyz"}
    assert secured["livenessProbe"]["httpGet"] == {"port": "http", "path": "/healthz"}
    assert secured["startupProbe"]["httpGet"] == {"port": "http", "path": "/healthz"}
    assert "grpc" not in secured["readinessProbe"]
    asked = server(objects({"healthChecks": {"protocol": "http"}}))
    assert asked["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_a_pod_sleeps_before_sigterm_by_what_its_kubernetes_knows(objects: Render) -> None:
    assert server(objects())["lifecycle"] == {"preStop": {"sleep": {"seconds": 10}}}
    older = server(objects(kubernetes="1.28"))
    assert older["lifecycle"] == {"preStop": {"exec": {"command": ["sleep", "10"]}}}
    assert "lifecycle" not in server(objects({"lifecycle": {"preStopSleepSeconds": 0}}))


def test_a_changed_setting_makes_new_pods_and_a_changed_policy_does_not(objects: Render) -> None:
    policy = {"policies": {"files": {"default.yaml": {"name": "default", "version": "1", "request": []}}}}
    newer = {"policies": {"files": {"default.yaml": {"name": "default", "version": "2", "request": []}}}}
    setting = policy | {"config": {"log": {"level": "debug"}}}

    def pod(values: Object) -> Any:
        return objects(values)["Deployment", "wardgate"]["spec"]["template"]

    assert pod(policy) == pod(newer)
    assert pod(policy)["metadata"] != pod(setting)["metadata"]
    assert pod(policy)["spec"] == pod(setting)["spec"]


@pytest.mark.parametrize(
    ("resources", "workers"),
    [
        ({"requests": {"cpu": "2"}}, 2),
        ({"requests": {"cpu": "500m"}}, 1),
        ({"requests": {"cpu": 1.5}}, 2),
        ({"requests": {"cpu": "2"}, "limits": {"cpu": "3500m"}}, 4),
        ({"requests": {"cpu": None}}, None),
    ],
)
def test_there_are_as_many_scoring_threads_as_the_container_has_cores(
    resources: Object, workers: int | None, objects: Render
) -> None:
    assert settings_of(objects({"resources": resources})).get("scoring", {}).get("workers") == workers
    own = {"resources": resources, "config": {"scoring": {"workers": 7}}}
    assert settings_of(objects(own))["scoring"]["workers"] == 7


def test_threads_of_models_follow_the_cores_too_but_not_on_a_gpu(objects: Render) -> None:
    of_two, of_one = settings_of(objects(ci="models"))["models"][1], settings_of(objects(ci="models"))["models"][0]
    assert (of_one["threads"], of_two["threads"]) == (4, 2)  # 3500m are four cores
    on_a_gpu = settings_of(objects(ci="gpu"))
    assert "threads" not in on_a_gpu["models"][0]
    assert "threads" not in on_a_gpu["backend"]
    local = settings_of(objects({"config": {"backend": {"kind": "transformers"}}}))
    assert local["backend"]["threads"] == 2


def test_a_volume_of_one_node_is_never_asked_for_by_two_pods(objects: Render) -> None:
    def strategy(values: Object) -> Any:
        return objects(values)["Deployment", "wardgate"]["spec"]["strategy"]

    assert strategy({}) == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    assert strategy({"store": {"persistence": {"enabled": True}}}) == {"type": "Recreate"}
    assert strategy({"modelCache": {"enabled": True}}) == {"type": "Recreate"}
    assert strategy({"modelCache": {"enabled": True, "ephemeral": True}})["type"] == "RollingUpdate"
    assert strategy({"modelCache": {"enabled": True, "accessModes": ["ReadWriteMany"]}})["type"] == "RollingUpdate"


def egress_ports(objects: Objects, name: str = "wardgate") -> list[int | str]:
    rules = objects["NetworkPolicy", name]["spec"]["egress"]
    return [port["port"] for rule in rules for port in rule["ports"]]


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("http://vllm/v1", 80),
        ("https://vllm/v1", 443),
        ("http://vllm:8000/v1", 8000),
        ("https://[fd00::1]:8443/v1", 8443),
    ],
)
def test_the_way_to_the_upstream_is_open_on_its_port(url: str, port: int, objects: Render) -> None:
    backend = {"kind": "openai", "base_url": url, "model": "m"}
    assert egress_ports(objects({"config": {"backend": backend}})) == [53, 53, port]
    pods_port = {"networkPolicy": {"egress": {"upstream": {"port": 8080}}}}
    assert egress_ports(objects({"config": {"backend": backend}} | pods_port)) == [53, 53, 8080]


def test_the_way_out_is_closed_unless_it_is_needed(objects: Render) -> None:
    assert egress_ports(objects()) == [53, 53]
    assert egress_ports(objects(POSTGRES)) == [53, 53, 5432]
    assert egress_ports(objects({"store": {"url": "postgresql://u@db:6432/w"}})) == [53, 53, 6432]
    assert ("NetworkPolicy", "wardgate") not in objects({"networkPolicy": {"enabled": False}})


def test_who_may_call_is_said_by_values_and_the_charts_own_callers_always_may(objects: Render) -> None:
    ours = {"app.kubernetes.io/name": "wardgate", "app.kubernetes.io/instance": "wardgate"}
    closed = objects({"networkPolicy": {"ingress": {"grpc": [], "http": []}}})
    (only,) = closed["NetworkPolicy", "wardgate"]["spec"]["ingress"]
    assert only == {
        "ports": [{"port": "grpc", "protocol": "TCP"}],
        "from": [{"podSelector": {"matchLabels": ours}}],
    }
    test_pod = closed["Pod", "wardgate-test-check"]["metadata"]["labels"]
    assert ours.items() <= test_pod.items()
    callers = closed["NetworkPolicy", "wardgate-callers"]["spec"]
    assert test_pod["app.kubernetes.io/component"] in callers["podSelector"]["matchExpressions"][0]["values"]
    assert egress_ports(closed, "wardgate-callers") == [53, 53, "grpc"]
    assert ("NetworkPolicy", "wardgate-callers") not in objects({"tests": {"enabled": False}})


def test_the_image_is_named_by_digest_over_tag_and_with_its_registry(objects: Render) -> None:
    digest = "sha256:" + "a" * 64
    assert server(objects())["image"] == "wardgate/scorer:0.1.0"
    assert server(objects({"image": {"tag": "1.2"}}))["image"] == "wardgate/scorer:1.2"
    given = {"image": {"registry": "r.example.com:5000", "tag": "1.2", "digest": digest}}
    assert server(objects(given))["image"] == f"r.example.com:5000/wardgate/scorer@{digest}"


def test_an_autoscaler_alone_says_how_many_replicas_there_are(objects: Render) -> None:
    assert objects()["Deployment", "wardgate"]["spec"]["replicas"] == 1
    assert "replicas" not in objects(ci="hpa")["Deployment", "wardgate"]["spec"]
    assert "replicas" not in objects(ci="keda")["Deployment", "wardgate"]["spec"]


def test_the_query_of_keda_is_a_template_of_ours_or_of_the_operators(objects: Render) -> None:
    def trigger(values: Object) -> Any:
        return objects(values, ci="keda")["ScaledObject", "wardgate"]["spec"]["triggers"][0]["metadata"]

    assert 'namespace="guard", pod=~"wardgate-' in trigger({})["query"]
    own = trigger(
        {"keda": {"prometheus": {"query": 'sum(wardgate_queue_depth{namespace="{{ .Release.Namespace }}"})'}}}
    )
    assert own["query"] == 'sum(wardgate_queue_depth{namespace="guard"})'


def test_the_test_pod_and_the_jobs_call_the_service_by_a_name_in_its_certificate(objects: Render) -> None:
    found = objects({"probeCronJobs": [{"name": "n", "schedule": "0 3 * * *", "suite": "guard"}],
                     "auth": {"adminTokens": {"existingSecret": "admins"}}}, ci="hpa")  # fmt: skip
    names = found["Certificate", "wardgate"]["spec"]["dnsNames"]
    for workload in (found["Pod", "wardgate-test-check"], found["CronJob", "wardgate-probe-n"]):
        arguments = pod_of(workload)["containers"][0]["args"]
        host, _, port = arguments[arguments.index("--server") + 1].partition(":")
        assert host in names
        assert port == "50051"
        for option in ("--ca-file", "--certificate-file", "--key-file"):
            assert arguments[arguments.index(option) + 1].startswith("/etc/wardgate/caller/")


def test_the_private_key_of_the_service_is_not_given_to_its_callers(objects: Render) -> None:
    found = objects(ci="probes")
    for workload in (found["Pod", "wardgate-test-check"], found["CronJob", "wardgate-probe-ours"]):
        for volume in pod_of(workload)["volumes"]:
            assert "tls.key" not in json.dumps(volume)


def test_with_mutual_tls_and_no_certificate_of_its_own_there_is_no_test_pod(objects: Render) -> None:
    mutual = {"tls": {"existingSecret": "tls", "clientCA": {"existingSecret": "ca"}}}
    assert ("Pod", "wardgate-test-check") not in objects(mutual)
    assert ("Pod", "wardgate-test-check") in objects(TLS)


def test_selectors_are_what_they_were_whatever_labels_are_given(objects: Render) -> None:
    before = objects()["Deployment", "wardgate"]["spec"]
    labels = {"team": "trust", "app.kubernetes.io/name": "other", "helm.sh/chart": "other"}
    after = objects({"commonLabels": labels, "podLabels": labels})["Deployment", "wardgate"]["spec"]
    assert after["selector"] == before["selector"]
    assert after["template"]["metadata"]["labels"] == before["template"]["metadata"]["labels"] | {"team": "trust"}


def test_long_names_are_cut_to_what_kubernetes_takes(objects: Render) -> None:
    found = objects({"fullnameOverride": "a" * 50, "config": {"policies": {"default": "production"}}}, ci="production")
    for kind, name in objects({"fullnameOverride": "a" * 50}, ci="probes") | found:
        assert len(name) <= (52 if kind == "CronJob" else 63)


def test_a_dashboard_and_a_rule_are_carried_as_they_are_in_their_files(objects: Render) -> None:
    found = objects(ci="monitoring")
    carried = {
        name: text for (kind, _), one in found.items() if kind == "ConfigMap" for name, text in one["data"].items()
    }
    for file in (CHART / "dashboards").glob("*.json"):
        assert json.loads(carried[file.name]) == json.loads(file.read_text())
    groups = [
        group
        for file in sorted((CHART / "rules").glob("*.yaml"))
        for group in yaml.safe_load(file.read_text())["groups"]
    ]
    own = found["PrometheusRule", "wardgate"]["spec"]["groups"]
    assert own[:-1] == groups
    assert own[-1]["rules"][0]["annotations"]["summary"] == "no {{ $labels.job }} is there"


def test_the_serving_container_writes_into_the_models_only_where_versions_may_take_over(objects: Render) -> None:
    def read_only(found: Objects) -> list[bool]:
        return [mount["readOnly"] for mount in server(found)["volumeMounts"] if mount["name"] == "models"]

    assert read_only(objects({"modelCache": {"enabled": True, "ephemeral": True}})) == [True]
    assert read_only(objects(ci="models")) == [False]


def test_runbooks_of_alerts_can_be_anywhere(objects: Render) -> None:
    group = {"name": "g", "rules": [{"alert": "A", "expr": "1", "annotations": {"runbook_url": "docs/runbooks/A.md"}}]}
    rules = {"enabled": True, "additionalGroups": [group], "runbooks": "https://git.example.com/wardgate"}
    found = objects({"metrics": {"prometheusRule": rules}})["PrometheusRule", "wardgate"]["spec"]["groups"]
    assert found[-1]["rules"][0]["annotations"]["runbook_url"] == "https://git.example.com/wardgate/docs/runbooks/A.md"
    assert "runbook_url: docs/" not in yaml.safe_dump(found)


def test_notes_say_the_next_three_commands_and_what_is_open(tmp_path: Path) -> None:
    done = helm("install", "wardgate", CHART, "--namespace", "guard", "--dry-run=client")
    assert done.returncode == 0, done.stderr
    notes = done.stdout.partition("NOTES:\n")[2]
    commands = [line.split()[0] for line in notes.splitlines() if line.startswith("  ")]
    assert commands == ["kubectl", "helm", "kubectl"]
    assert "There is no TLS" in notes
    assert "lost with the pod" in notes
    (values,) = (file for file in VALUES if file.name == "production-values.yaml")
    quiet = helm("install", "wardgate", CHART, "--namespace", "guard", "--dry-run=client", "--values", values).stdout
    assert quiet.rstrip().endswith("balances over all replicas.")


def test_a_packaged_chart_renders_without_the_repository(tmp_path: Path) -> None:
    packaged = helm("package", CHART, "--destination", tmp_path)
    assert packaged.returncode == 0, packaged.stderr
    (archive,) = tmp_path.glob("wardgate-*.tgz")
    done = helm("template", "wardgate", archive)
    assert done.returncode == 0, done.stderr
    assert ("Deployment", "wardgate") in objects_of(done.stdout)
