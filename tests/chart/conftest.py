"""The chart, rendered by the real helm."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.chart_renders import HELM, VALUES, render, template

Object = dict[str, Any]
Objects = dict[tuple[str, str], Object]
Render = Callable[..., Objects]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not HELM.exists():
        here = Path(__file__).parent
        skip = pytest.mark.skip(reason="helm is not installed; `make chart` installs it and runs these tests")
        for item in items:
            if here in item.path.parents:
                item.add_marker(skip)


@cache
def rendered(values: Path) -> str:
    return render(values)


def objects_of(text: str) -> Objects:
    """By kind and name. A name that stands twice, or a key that stands twice in one object, is a fault."""
    found: Objects = {}
    for document in yaml.load_all(text, Loader=_Strict):
        if document:
            key = (document["kind"], document["metadata"]["name"])
            assert key not in found, key
            found[key] = document
    return found


class _Strict(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key) for key, _ in node.value]  # type: ignore[no-untyped-call]
        assert len(keys) == len(set(keys)), f"a key stands twice, {node.start_mark}"
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


@pytest.fixture
def objects(tmp_path: Path) -> Render:
    """Renders with the given values over those of ci/NAME-values.yaml."""

    def chosen(values: Object | None = None, ci: str = "default", kubernetes: str = "1.34") -> Objects:
        (base,) = (file for file in VALUES if file.name == f"{ci}-values.yaml")
        over = tmp_path / "values.yaml"
        over.write_text(json.dumps(values or {}))
        done = template("--values", base, "--values", over, kubernetes=kubernetes)
        assert done.returncode == 0, done.stderr
        return objects_of(done.stdout)

    return chosen


@pytest.fixture
def refused(tmp_path: Path) -> Callable[[Object], str]:
    """Helm's words about values that it must not render."""

    def say(values: Object) -> str:
        file = tmp_path / "values.yaml"
        file.write_text(json.dumps(values))
        done = template("--values", file)
        assert done.returncode != 0, "these values render"
        return done.stderr

    return say


def server(objects: Objects) -> Object:
    """The service's own container."""
    pod: Object = objects["Deployment", "wardgate"]["spec"]["template"]["spec"]
    (container,) = (one for one in pod["containers"] if one["name"] == "wardgate")
    found: Object = container
    return found


def settings_of(objects: Objects) -> Object:
    settings: Object = yaml.safe_load(objects["ConfigMap", "wardgate-config"]["data"]["wardgate.yaml"])
    return settings
