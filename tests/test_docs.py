"""What the documents promise is what the code does."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry
from pydantic import BaseModel

from guards.learning.card import with_tables
from guards.policy import load_policy
from guards.rewards.checkpoints.presets import presets
from guards.rewards.checkpoints.spec import CheckpointSpec
from guards.rewards.manifest import load_manifest
from guards.rewards.reward_model import EMBEDDED_DIR
from guards.types import Stage
from service.config import ModelSettings, OpenAISettings, Settings, TransformersSettings
from service.metrics import Metrics
from tests.fakes import HEADS, FakeBackend, running_server, write_policy
from wardgate.channel import Endpoint

ROOT = Path(__file__).parent.parent
FENCE = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)


def fenced(page: str, language: str) -> list[str]:
    return [text for found, text in FENCE.findall((ROOT / page).read_text()) if found == language]


def test_every_metric_is_described() -> None:
    described = set(re.findall(r"`((?:wardgate|grpc_server)_\w+)`", (ROOT / "docs/metrics.md").read_text()))
    registry: CollectorRegistry = Metrics("test").registry
    exported = {
        metric.name + ("_total" if metric.type == "counter" else "")
        for metric in registry.collect()
        if metric.name.startswith(("wardgate_", "grpc_"))
    }
    assert exported <= described


@pytest.mark.parametrize("section", [*Settings.model_fields, "transformers", "openai"])
def test_every_setting_is_described(section: str) -> None:
    page = (ROOT / "docs/configuration.md").read_text()
    model = {"transformers": TransformersSettings, "openai": OpenAISettings}.get(section)
    if model is None:
        annotation = Settings.model_fields[section].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            assert f"## {section}" in page
            return
        model = annotation  # type: ignore[assignment]
    for name in model.model_fields:  # type: ignore[union-attr]
        assert f"`{name}" in page or f".{name}`" in page or f"`kind: {section}`" in page, f"{section}.{name}"


@pytest.mark.parametrize("page", ["README.md", "docs/policies.md", "docs/models.md"])
def test_the_example_policies_are_valid(page: str, tmp_path: Path) -> None:
    examples = [text for text in fenced(page, "yaml") if "thresholds" in text]
    assert examples
    for index, text in enumerate(examples):
        file = tmp_path / f"{index}.yaml"
        file.write_text(text)
        assert load_policy(file, HEADS | {"prompt-guard": frozenset((Stage.REQUEST,))}).request


@pytest.mark.parametrize("page", ["README.md", "docs/configuration.md", "docs/models.md"])
def test_the_example_settings_are_valid(page: str) -> None:
    examples = [text for text in fenced(page, "yaml") if "thresholds" not in text]
    assert examples
    for text in examples:
        assert Settings(**yaml.safe_load(text))


def test_every_preset_and_key_of_a_further_model_is_described() -> None:
    page = (ROOT / "docs/models.md").read_text()
    for preset in presets():
        assert f"| `{preset}` |" in page
        assert f"### {preset}\n" in page
    for key in {*ModelSettings.model_fields, *CheckpointSpec.model_fields} - {"reading"}:
        assert f"`{key}`" in page, key


def test_the_reward_models_page_has_the_manifests_figures() -> None:
    page = (ROOT / "docs/reward-model.md").read_text()
    manifest, _ = load_manifest(EMBEDDED_DIR)
    assert with_tables(page, manifest) == page, "run: python -m guards.learning.card"


async def test_the_readmes_client_example_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = fenced("README.md", "python")
    write_policy(tmp_path)
    async with running_server(tmp_path, backend=FakeBackend(["Paris."])) as running:
        code = example.replace("127.0.0.1:50051", running.address)
        await asyncio.to_thread(exec, compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out.split("\n")[:2] == ["Paris.", "show it"]


def test_links_between_pages_lead_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"


def test_the_service_config_for_other_clients_is_that_of_ours() -> None:
    (shown,) = map(json.loads, fenced("docs/availability.md", "json"))
    ours = json.loads(str(dict(Endpoint("localhost:1", None, None, False, 1024).options())["grpc.service_config"]))
    shown["methodConfig"][0]["name"] = ours["methodConfig"][0]["name"]  # ours has what reads of other services too
    assert shown == ours
