"""Checks rendered objects against the schemas of Kubernetes releases, and custom resources against their types.

    .cache/tools/kube/bin/python -m deploy.check_manifests FILE...

Runs in the environment `kube` of deploy/install_tools.sh. Unknown keys are faults everywhere. One line for each fault;
exit code 1 when there is one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from deploy.gateway_api import GRPC_ROUTE

VERSIONS = ("1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37")


def faults(document: dict[str, Any]) -> Iterator[str]:
    """What is wrong with one object, each with the place of it."""
    kind = f"{document.get('apiVersion')}/{document.get('kind')}"
    name = f"{document.get('kind')} {document.get('metadata', {}).get('name')}"
    group = str(document.get("apiVersion")).partition("/")[0]
    if "." in group and not group.endswith(".k8s.io"):
        schema = _custom(kind)
    elif group == "gateway.networking.k8s.io":
        schema = GRPC_ROUTE if kind.endswith("/v1/GRPCRoute") else None
    else:
        yield from _kubernetes(name, document)
        return
    if schema is None:
        yield f"{name}: nothing is known of {kind}"
        return
    for error in Draft202012Validator(schema).iter_errors(document):
        yield f"{name}: {error.json_path}: {error.message}"


def _kubernetes(name: str, document: dict[str, Any]) -> Iterator[str]:
    import kubernetes_validate

    for version in VERSIONS:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
            yield f"{name}: Kubernetes {version}: {error.message}"


@cache
def _custom(kind: str) -> dict[str, Any] | None:
    """The schema of a custom resource, from its published types, in which every unknown key is a fault."""
    from cloudcoil.models.cert_manager import v1 as cert_manager
    from cloudcoil.models.keda import v1alpha1 as keda
    from cloudcoil.models.prometheus_operator import v1 as prometheus

    types = {
        "monitoring.coreos.com/v1/ServiceMonitor": prometheus.ServiceMonitor,
        "monitoring.coreos.com/v1/PodMonitor": prometheus.PodMonitor,
        "monitoring.coreos.com/v1/PrometheusRule": prometheus.PrometheusRule,
        "keda.sh/v1alpha1/ScaledObject": keda.ScaledObject,
        "keda.sh/v1alpha1/TriggerAuthentication": keda.TriggerAuthentication,
        "cert-manager.io/v1/Certificate": cert_manager.Certificate,
    }
    model = types.get(kind)
    if model is None:
        return None
    schema: dict[str, Any] = model.model_json_schema()
    # What a server fills in is asked for by the types and never written.
    schema["properties"].pop("status", None)
    for part in (schema, *schema.get("$defs", {}).values()):
        if part.get("properties"):
            part.setdefault("additionalProperties", False)
    return schema


def main(files: list[str]) -> int:
    """0 when every object of every file is as it should be."""
    count, found = 0, 0
    for file in files:
        for document in yaml.safe_load_all(Path(file).read_text()):
            if document is None:
                continue
            count += 1
            for fault in faults(document):
                found += 1
                print(f"{file}: {fault}", file=sys.stderr)
    print(f"{count} objects, {found} faults; Kubernetes {VERSIONS[0]} to {VERSIONS[-1]}")
    return 1 if found or not count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
