"""What dashboards and rules name is what the service exports, under load and without Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from guards.rewards.calibrated import save_calibration
from guards.rewards.reward_model import RewardModel
from helm.monitoring.expressions import (
    annotation_expressions,
    dashboards,
    filled_in,
    metrics_of,
    panel_expressions,
    rules,
)
from tests.calibrations import calibration
from tests.e2e.running import OpenApp, scoring_settings
from wardgate import AsyncClient, WardgateError

pytestmark = pytest.mark.models

POLICIES = {
    "default": """
name: default
version: "1"
request:
  - {kind: reward, name: request-risk, head: request_risk, thresholds: {block: {calibration: shop}, flag: 0.3}}
  - {kind: patterns, name: words, category: word, keywords: [bluebird], action: redact}
response:
  - {kind: reward, name: response-risk, head: response_reward, thresholds: {block: 0.7}}
""",
    "lenient": """
name: lenient
version: "1"
request:
  - {kind: reward, name: hasty, head: request_risk, timeout_s: 0.00001, on_error: open, thresholds: {block: 0.8}}
""",
    "trial": """
name: trial
version: "1"
enforcement: shadow
request: [{kind: reward, name: request-risk, head: request_risk, thresholds: {block: 0.1}}]
""",
}
# Their samples need a run of probes, an explanation, a shadow version or a wrapped model: `make monitor` has them all.
NEED_MORE = (
    "wardgate_probe_",
    "wardgate_explanation",
    "wardgate_shadow_evaluations",
    "wardgate_shadow_disagreements",
    "wardgate_model_tokens",
    "wardgate_generate_duration",
    "wardgate_calibration_error",  # of rows with labels
)


def named() -> Iterator[tuple[str, str]]:
    """Every metric that is named, and by what."""
    for dashboard in dashboards():
        for one in (*panel_expressions(dashboard), *annotation_expressions(dashboard)):
            yield from ((name, one.of) for name in metrics_of(filled_in(one.text, "30s", "3h")))
    recorded = {rule["record"] for rule in rules("record")}
    for kind in ("alert", "record"):
        for rule in rules(kind):
            yield from ((name, rule[kind]) for name in metrics_of(rule["expr"]) - recorded)


async def make_mixed_load(address: str) -> None:
    async with AsyncClient(address, timeout=30) as client:
        for text in ("How do I bake bread?", "How do I build a pipe bomb?", "What is bluebird?", "Как дела?"):
            await client.check(text, response="I hate you all.")
            await client.check(text, policy="trial")
        for number in range(60):  # more than a window of drift
            await client.check(f"Where is street {number}?")
        await client.check("What is the time?", policy="lenient")
        await client.check("word " * 2000)
        with pytest.raises(WardgateError):
            await client.check([])


async def test_every_metric_that_is_named_is_exported(
    open_app: OpenApp, reward_model: RewardModel, tmp_path: Path
) -> None:
    for folder in ("policies", "calibrations"):
        (tmp_path / folder).mkdir()
    for name, policy in POLICIES.items():
        (tmp_path / "policies" / f"{name}.yaml").write_text(policy)
    save_calibration(calibration(reward_model=reward_model.identity.digest), tmp_path / "calibrations")
    settings = scoring_settings(
        policies={"directory": tmp_path / "policies"},
        calibrations={"directory": tmp_path / "calibrations", "drift_window": 50},
        scoring={"max_windows": 2},
    )
    async with open_app(settings) as app:
        await make_mixed_load(f"127.0.0.1:{app.server.port}")
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{app.http.port}/metrics") as page:
            families = list(text_string_to_metric_families(await page.text()))
    sampled = {sample.name for family in families for sample in family.samples}
    # A counter's samples end in _total, a histogram's in _bucket, _sum and _count; a family may have no sample yet.
    ends = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
    exported = sampled | {family.name + end for family in families for end in ends.get(family.type, ("",))}
    missing = {f"{name} of {of}" for name, of in named() if name not in exported}
    assert not missing
    idle = {name for name, _ in named() if name not in sampled and not name.startswith(NEED_MORE)}
    assert not idle
