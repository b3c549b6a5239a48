"""The chart's wardgate.yaml against the service's own reader."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from deploy.chart_renders import CHART, VALUES
from deploy.chart_schema import OWNED, SCHEMA, text_of, with_config
from guards.policy import load_policy
from guards.probes.suite import named_suite
from service.config import ModelSettings, OpenAISettings, Settings, load_settings
from tests.chart.conftest import Objects, Render, objects_of, rendered
from tests.fakes import HEADS


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("WARDGATE_")]:
        monkeypatch.delenv(name)


def load(objects: Objects, folder: Path) -> Settings:
    file = folder / "wardgate.yaml"
    file.write_text(objects["ConfigMap", "wardgate-config"]["data"]["wardgate.yaml"])
    return load_settings(file)


@pytest.mark.parametrize("values", VALUES, ids=lambda file: file.stem)
def test_the_service_takes_the_settings(values: Path, tmp_path: Path) -> None:
    settings = load(objects_of(rendered(values)), tmp_path)
    assert (settings.grpc.host, settings.grpc.port) == ("0.0.0.0", 50051)
    assert (settings.http.host, settings.http.port) == ("0.0.0.0", 9464)


@pytest.mark.parametrize("values", VALUES, ids=lambda file: file.stem)
def test_every_file_that_the_settings_name_is_mounted(values: Path, tmp_path: Path) -> None:
    objects = objects_of(rendered(values))
    settings = load(objects, tmp_path)
    pod = objects["Deployment", "wardgate"]["spec"]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = {Path(mount["mountPath"]): volumes[mount["name"]] for mount in pod["containers"][0]["volumeMounts"]}
    for path in files_of(settings):
        if path == Settings.model_fields["policies"].default.directory or path in default_files():
            continue
        mount = next((parent for parent in (path, *path.parents) if parent in mounts), None)
        assert mount is not None, path
        if secret := mounts[mount].get("secret"):
            assert path.name in [item["path"] for item in secret["items"]]


def files_of(part: BaseModel) -> Iterator[Path]:
    for name in type(part).model_fields:
        value = getattr(part, name)
        if isinstance(value, Path):
            yield value
        elif isinstance(value, BaseModel):
            yield from files_of(value)


def default_files() -> set[Path]:
    return set(files_of(Settings()))


@pytest.mark.parametrize("ci", ["production", "probes"])
def test_the_policies_and_suites_in_values_are_valid(ci: str, objects: Render, tmp_path: Path) -> None:
    found = objects(ci=ci)
    data = {**found.get(("ConfigMap", "wardgate-policies"), {}).get("data", {})}
    suites = {**found.get(("ConfigMap", "wardgate-suites"), {}).get("data", {})}
    assert data or suites
    for name, text in data.items():
        (tmp_path / name).write_text(text)
        assert load_policy(tmp_path / name, HEADS).name == name.removesuffix(".yaml")
    for name, text in suites.items():
        (tmp_path / name).write_text(text)
        assert named_suite(tmp_path, name.removesuffix(".yaml")).probes


def test_large_numbers_stay_whole(objects: Render, tmp_path: Path) -> None:
    limits = {"grpc": {"max_message_bytes": 16777216}, "limits": {"max_text_chars": 10_000_000}}
    settings = load(objects({"config": limits}), tmp_path)
    assert settings.grpc.max_message_bytes == 16777216
    assert settings.limits.max_text_chars == 10_000_000


def test_the_schema_has_the_settings_as_they_are() -> None:
    schema = json.loads(SCHEMA.read_text())
    assert text_of(with_config(schema)) == SCHEMA.read_text(), "run: python -m deploy.chart_schema"


def test_every_setting_can_be_set_or_is_the_charts_own() -> None:
    definitions = json.loads(SCHEMA.read_text())["definitions"]
    known = {name: part["properties"] for name, part in definitions.items() if "properties" in part}
    for section, field in Settings.model_fields.items():
        if section in OWNED:
            continue
        assert section in known["config"], section
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            free = {name for name in kind.model_fields if f"{section}.{name}" not in OWNED}
            assert free == set(known[f"config.{kind.__name__}"])
    openai = {name for name in OpenAISettings.model_fields if f"backend.{name}" not in OWNED}
    assert openai == set(known["config.OpenAISettings"])
    assert set(ModelSettings.model_fields) - {"reading"} <= set(known["config.ModelSettings"])


def test_what_the_chart_owns_has_a_setting_of_that_name() -> None:
    for path in OWNED:
        section, _, key = path.partition(".")
        kind: Any = OpenAISettings if section == "backend" else Settings.model_fields[section].annotation
        assert not key or key in kind.model_fields, path


def test_the_charts_version_is_the_projects() -> None:
    chart = (CHART / "Chart.yaml").read_text()
    project = (CHART.parent.parent / "pyproject.toml").read_text()
    version = next(line.split('"')[1] for line in project.splitlines() if line.startswith("version"))
    assert f'appVersion: "{version}"' in chart
