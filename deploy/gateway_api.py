"""The part of Gateway API's GRPCRoute that the chart writes, as a strict JSON schema.

After the API reference of Gateway API v1.1 and later, gateway.networking.k8s.io/v1, channel `standard`: GRPCRoute,
GRPCRouteSpec, ParentReference, GRPCRouteRule, GRPCRouteMatch, GRPCMethodMatch, GRPCBackendRef. Filters, header matches
and session persistence are left out: the chart writes none, and an unknown key is a fault here.
"""

from __future__ import annotations

from typing import Any

_NAME = {"type": "string", "minLength": 1, "maxLength": 253}
_NAMESPACE = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63}
_PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
_HOST = {
    "type": "string",
    "maxLength": 253,
    "pattern": r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
}
_STRINGS = {"type": "object", "additionalProperties": {"type": "string"}}


def _object(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": properties, "required": list(required)}


def _some(item: dict[str, Any], most: int) -> dict[str, Any]:
    return {"type": "array", "items": item, "minItems": 1, "maxItems": most}


_PARENT = _object(
    {
        "group": {"type": "string"},
        "kind": {"type": "string"},
        "name": _NAME,
        "namespace": _NAMESPACE,
        "sectionName": _NAME,
        "port": _PORT,
    },
    "name",
)
_METHOD = _object(
    {
        "type": {"enum": ["Exact", "RegularExpression"]},
        "service": {"type": "string", "maxLength": 1024, "pattern": r"^[A-Za-z_][A-Za-z_0-9.]*$"},
        "method": {"type": "string", "maxLength": 1024, "pattern": "^[A-Za-z_][A-Za-z_0-9]*$"},
    }
)
_BACKEND = _object(
    {
        "group": {"type": "string"},
        "kind": {"type": "string"},
        "name": _NAME,
        "namespace": _NAMESPACE,
        "port": _PORT,
        "weight": {"type": "integer", "minimum": 0, "maximum": 1_000_000},
    },
    "name",
    "port",  # required where the backend is a Service, as ours is
)
_RULE = _object({"name": _NAME, "matches": _some(_object({"method": _METHOD}), 8), "backendRefs": _some(_BACKEND, 16)})

GRPC_ROUTE = _object(
    {
        "apiVersion": {"const": "gateway.networking.k8s.io/v1"},
        "kind": {"const": "GRPCRoute"},
        "metadata": _object(
            {"name": _NAME, "namespace": _NAMESPACE, "labels": _STRINGS, "annotations": _STRINGS}, "name"
        ),
        "spec": _object({"parentRefs": _some(_PARENT, 32), "hostnames": _some(_HOST, 16), "rules": _some(_RULE, 16)}),
    },
    "apiVersion",
    "kind",
    "metadata",
    "spec",
)
