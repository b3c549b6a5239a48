"""Writes the `config` part of the chart's values.schema.json from the service's own settings.

The rest of that file is written by hand. What the chart sets itself is left out, and thereby refused in `config`.

    python -m deploy.chart_schema
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from service.config import Settings

SCHEMA = Path(__file__).parent.parent / "helm/wardgate/values.schema.json"

# Paths into `config` that have a value of their own in the chart, or none because they are always the same.
OWNED = frozenset(
    {
        "backend.api_key_file",
        "backend.ca_file",
        "calibrations.directory",
        "grpc.admin_tokens_file",
        "grpc.host",
        "grpc.port",
        "grpc.tls",
        "grpc.tokens_file",
        "http",
        "model_cache",
        "policies.directory",
        "probing.suites",
        "rollout",
        "store.password_file",
        "store.url",
    }
)
_NOISE = ("title", "description", "default", "format", "discriminator")
_EVERY = {"type": "string", "pattern": "^[0-9]{1,6} *[smhd]$"}


def with_config(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with its `config` part as the settings say."""
    hand_written = {name: part for name, part in schema["definitions"].items() if not name.startswith("config")}
    return schema | {"definitions": hand_written | _config_definitions()}


def _config_definitions() -> dict[str, Any]:
    whole = Settings.model_json_schema()
    parts = whole["$defs"]
    model, reading = parts["ModelSettings"], parts.pop("CheckpointSpec")
    # In the file, the keys of a model's reading stand beside the model's own; what a preset gives may be left out.
    model["properties"] = {**model["properties"], **reading["properties"]}
    del model["properties"]["reading"]
    model["required"] = [name for name in model["required"] if name != "reading"]
    parts["ScheduleSettings"]["properties"]["every"] = _EVERY
    whole["properties"]["backend"] = _by_kind(parts)
    for path in OWNED:
        _leave_out(whole, path)
    definitions = {f"config.{name}": _plain(part) for name, part in parts.items()}
    root = {"type": "object", "additionalProperties": False, "properties": whole["properties"]}
    return _reachable({"config": _plain(root), **definitions})


def _by_kind(parts: dict[str, Any]) -> dict[str, Any]:
    """One of the kinds of backend, told by `kind`: an error is then about the kind that was meant."""
    kinds = {}
    for name, part in parts.items():
        if kind := part["properties"].get("kind", {}).get("const"):
            kinds[kind] = name
    chosen = [
        {"if": {"properties": {"kind": {"const": kind}}}, "then": {"$ref": f"#/$defs/{name}"}}
        for kind, name in kinds.items()
    ]
    properties = {"kind": {"enum": list(kinds)}}
    return {"type": "object", "required": ["kind"], "properties": properties, "allOf": chosen}


def _leave_out(whole: dict[str, Any], path: str) -> None:
    section, _, key = path.partition(".")
    if not key:
        del whole["properties"][section]
        return
    if section == "backend":
        del whole["$defs"]["OpenAISettings"]["properties"][key]
        return
    name = whole["properties"][section]["$ref"].rpartition("/")[2]
    del whole["$defs"][name]["properties"][key]


def _plain(part: Any) -> Any:
    """Without what only documents it, and with references into `definitions`. Nothing may be null: Helm drops nulls."""
    if isinstance(part, list):
        return [_plain(item) for item in part]
    if not isinstance(part, dict):
        return part
    if "anyOf" in part:
        (some,) = (choice for choice in part["anyOf"] if choice.get("type") != "null")
        return _plain({key: value for key, value in part.items() if key != "anyOf"} | some)
    plain = {}
    for key, value in part.items():
        if key == "properties":
            plain[key] = {name: _plain(inner) for name, inner in value.items()}
        elif key == "$ref":
            plain[key] = value.replace("#/$defs/", "#/definitions/config.")
        elif key not in _NOISE:
            plain[key] = _plain(value)
    return plain


def _reachable(definitions: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    open_names = ["config"]
    while open_names:
        name = open_names.pop()
        if name not in found:
            found[name] = definitions[name]
            text = json.dumps(definitions[name])
            open_names += [other for other in definitions if f'"#/definitions/{other}"' in text]
    return dict(sorted(found.items()))


def text_of(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=2) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(text_of(with_config(json.loads(SCHEMA.read_text()))))
