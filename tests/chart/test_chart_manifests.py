"""The check of rendered objects finds what it should: deploy/check_manifests.py, run in an environment of its own."""

from __future__ import annotations

import copy
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from deploy.chart_renders import ROOT, VALUES, render
from tests.chart.conftest import Object, Objects, objects_of

PYTHON = ROOT / ".cache/tools/kube/bin/python"

pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="run deploy/install_tools.sh kube")


@pytest.fixture(scope="module")
def everything() -> Objects:
    found: Objects = {}
    for values in VALUES:
        found |= {key: one for key, one in objects_of(render(values)).items() if key not in found}
    return found


def check(folder: Path, *documents: Object) -> subprocess.CompletedProcess[str]:
    file = folder / "objects.yaml"
    file.write_text(yaml.safe_dump_all(documents))
    return subprocess.run(
        [PYTHON, "-m", "deploy.check_manifests", file],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_all_that_the_chart_writes_is_known_and_valid(everything: Objects, tmp_path: Path) -> None:
    kinds = {kind for kind, _ in everything}
    assert {"ServiceMonitor", "PodMonitor", "PrometheusRule", "ScaledObject", "TriggerAuthentication"} <= kinds
    assert {"GRPCRoute", "Certificate", "CronJob", "HorizontalPodAutoscaler", "PersistentVolumeClaim"} <= kinds
    done = check(tmp_path, *everything.values())
    assert done.returncode == 0, done.stderr
    assert f"{len(everything)} objects, 0 faults; Kubernetes 1.31 to 1.37" in done.stdout


def _misspell(*path: str | int) -> Callable[[Object], None]:
    """Another name for the key at the path's end."""

    def change(document: Object) -> None:
        place = document
        for step in path[:-1]:
            place = place[step]  # type: ignore[index]
        place[f"{path[-1]}y"] = place.pop(path[-1])  # type: ignore[arg-type]

    return change


FAULTS: list[tuple[str, str, Callable[[Object], object]]] = [
    ("Deployment", "wardgate", _misspell("spec", "template", "spec", "containers", 0, "imagePullPolicy")),
    ("Deployment", "wardgate", _misspell("spec", "template", "spec", "containers", 0, "livenessProbe", "grpc")),
    ("PodDisruptionBudget", "wardgate", _misspell("spec", "unhealthyPodEvictionPolicy")),
    ("NetworkPolicy", "wardgate", _misspell("spec", "egress", 0, "ports")),
    ("CronJob", "wardgate-probe-ours", _misspell("spec", "timeZone")),
    ("ServiceMonitor", "wardgate", _misspell("spec", "endpoints", 0, "interval")),
    ("ServiceMonitor", "wardgate", lambda one: one["spec"].pop("selector")),
    ("PodMonitor", "wardgate", _misspell("spec", "podMetricsEndpoints", 0, "scrapeTimeout")),
    ("PrometheusRule", "wardgate", _misspell("spec", "groups", 0, "rules", 0, "labels")),
    ("ScaledObject", "wardgate", _misspell("spec", "pollingInterval")),
    ("ScaledObject", "wardgate", lambda one: one["spec"].update(maxReplicaCount="many")),
    ("ScaledObject", "wardgate", lambda one: one["spec"]["triggers"][0]["metadata"].update(threshold=[8])),
    ("TriggerAuthentication", "wardgate-prometheus", _misspell("spec", "secretTargetRef", 0, "parameter")),
    ("GRPCRoute", "wardgate", _misspell("spec", "rules", 0, "backendRefs")),
    ("GRPCRoute", "wardgate", lambda one: one["spec"]["rules"][0]["matches"][0]["method"].update(type="Prefix")),
    ("Certificate", "wardgate", _misspell("spec", "privateKey", "rotationPolicy")),
    ("Certificate", "wardgate", lambda one: one["spec"].pop("issuerRef")),
    ("Service", "wardgate", lambda one: one.update(apiVersion="wardgate.example.com/v1")),
]


@pytest.fixture(scope="module")
def said(everything: Objects, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Of all faulty objects, checked in one go: each has a name of its own."""
    documents = []
    for index, (kind, name, change) in enumerate(FAULTS):
        document = copy.deepcopy(everything[kind, name])
        change(document)
        document["metadata"]["name"] = f"{name}-{index}"
        documents.append(document)
    done = check(tmp_path_factory.mktemp("faulty"), *documents)
    assert done.returncode == 1
    return done.stderr.splitlines()


@pytest.mark.parametrize("index", range(len(FAULTS)), ids=lambda index: f"{FAULTS[index][0]}-{index}")
def test_a_fault_is_found(index: int, said: list[str]) -> None:
    kind, name, _ = FAULTS[index]
    assert any(f": {kind} {name}-{index}: " in line for line in said)
