"""What the chart's pages and defaults name is there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.chart_renders import CHART, ROOT, VALUES, template
from deploy.chart_table import BEGIN, Row, rows, table, undescribed, with_table
from service.config import load_settings
from service.metrics import Metrics
from tests.chart.conftest import objects_of, rendered

README = (CHART / "README.md").read_text()
VALUES_TEXT = (CHART / "values.yaml").read_text()


def test_the_table_of_values_is_in_step() -> None:
    assert with_table(README, VALUES_TEXT) == README, "run: python -m deploy.chart_table"


def test_every_value_is_described() -> None:
    assert undescribed(yaml.safe_load(VALUES_TEXT), {row.path for row in rows(VALUES_TEXT)}) == []


def test_the_table_reads_comments_over_several_lines_and_defaults_of_any_kind() -> None:
    text = "a:\n  # -- What it is,\n  # and more.\n  b: {c: 1}\n# no description\nd: x\n# -- A | B.\ne: [1]\n"
    assert rows(text) == [Row(("a", "b"), "What it is, and more."), Row(("e",), "A | B.")]
    assert table(text).splitlines()[2] == '| `a.b` | `{"c": 1}` | What it is, and more. |'
    assert undescribed(yaml.safe_load(text), {row.path for row in rows(text)}) == ["d"]


@pytest.mark.parametrize("values", VALUES, ids=lambda file: file.stem)
def test_every_metric_that_decides_how_many_replicas_there_are_exists(values: Path) -> None:
    exported = {
        metric.name + ("_total" if metric.type == "counter" else "") for metric in Metrics("test").registry.collect()
    }
    # Those that the app itself watches are gauges of its own, described beside the others.
    described = set(re.findall(r"`(wardgate_\w+)`", (ROOT / "docs/metrics.md").read_text()))
    for document in yaml.safe_load_all(rendered(values)):
        if document and document["kind"] in ("ScaledObject", "HorizontalPodAutoscaler"):
            named = set(re.findall(r"wardgate_[a-z_]+(?=\{|\b)", str(document["spec"]))) - {"wardgate_"}
            assert named
            assert named <= exported | described


def test_the_values_on_the_deploy_page_render_and_the_service_takes_them(tmp_path: Path) -> None:
    page = (ROOT / "docs/deploy.md").read_text()
    (values,) = re.findall(r"<<'END'\n(.*?)\nEND\n", page, re.DOTALL)
    (tmp_path / "values.yaml").write_text(values)
    done = template("--values", tmp_path / "values.yaml")
    assert done.returncode == 0, done.stderr
    found = objects_of(done.stdout)
    settings = tmp_path / "wardgate.yaml"
    settings.write_text(found["ConfigMap", "wardgate-config"]["data"]["wardgate.yaml"])
    loaded = load_settings(settings)
    assert loaded.backend.kind == "openai"
    assert loaded.grpc.tls
    assert loaded.grpc.tokens_file
    # Step 5 makes a certificate for the names that the chart's own callers use.
    names = set(re.findall(r"DNS:([a-z.-]+)", page))
    arguments = found["Pod", "wardgate-test-check"]["spec"]["containers"][0]["args"]
    host = arguments[arguments.index("--server") + 1].partition(":")[0]
    assert host in names
    # Step 6 makes every Secret with every key that is mounted.
    made = dict.fromkeys(re.findall(r"create secret \w+ ([a-z-]+)", page))
    kept = set(re.findall(r'--from-file="\$keys/([a-z-]+)"', page)) | {"tls.crt", "tls.key"}
    pods = [found["Deployment", "wardgate"]["spec"]["template"]["spec"], found["Pod", "wardgate-test-check"]["spec"]]
    for volume in [volume for pod in pods for volume in pod["volumes"] if "secret" in volume]:
        assert volume["secret"]["secretName"] in made
        assert {item["key"] for item in volume["secret"]["items"]} <= kept


@pytest.mark.parametrize("page", ["docs/deploy.md", "docs/operating.md", "helm/wardgate/README.md"])
def test_the_values_that_a_page_names_exist(page: str) -> None:
    values = yaml.safe_load(VALUES_TEXT)
    sections = "|".join(values)
    schema = json.loads((CHART / "values.schema.json").read_text())["definitions"]
    named = set(re.findall(rf"`((?:{sections})(?:\.[A-Za-z_]+)+)[`:]", (ROOT / page).read_text().partition(BEGIN)[0]))
    assert named
    for path in named:
        place: Any = values
        section, *rest = path.split(".")
        if section == "config":
            parts = schema["config"]["properties"]
            assert rest[0] in parts, path
            continue
        for name in (section, *rest):
            assert isinstance(place, dict), path
            assert name in place, path
            place = place[name]
