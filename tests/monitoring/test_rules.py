"""The alert rules: each fires and does not fire as its test says, and each has its page."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from helm.monitoring.expressions import RULE_FILES, metrics_of, rules

ROOT = Path(__file__).parent.parent.parent
SCENARIOS = sorted((Path(__file__).parent / "rules").glob("*.yaml"))
ALERTS = {rule["alert"]: rule for rule in rules("alert")}


def promtool(*arguments: str) -> None:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed; on Debian: apt-get install --no-install-recommends prometheus")
    done = subprocess.run([program, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def cases(alert: str) -> list[dict[str, Any]]:
    """What the scenarios expect of an alert."""
    tests = [test for file in SCENARIOS for test in yaml.safe_load(file.read_text())["tests"]]
    return [case for test in tests for case in test["alert_rule_test"] if case["alertname"] == alert]


def test_prometheus_takes_the_rules() -> None:
    promtool("check", "rules", *(str(file) for file in sorted(RULE_FILES.glob("*.yaml"))))


@pytest.mark.parametrize("file", SCENARIOS, ids=lambda file: file.stem)
def test_alerts_fire_when_they_should_and_only_then(file: Path) -> None:
    promtool("test", "rules", str(file))


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_is_tried_firing_and_not_firing(alert: str) -> None:
    assert {bool(case["exp_alerts"]) for case in cases(alert)} == {True, False}


def test_no_scenario_is_about_an_alert_that_is_gone() -> None:
    tests = [test for file in SCENARIOS for test in yaml.safe_load(file.read_text())["tests"]]
    assert {case["alertname"] for test in tests for case in test["alert_rule_test"]} == set(ALERTS)


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_says_what_it_is_and_where_its_runbook_is(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert "for" in rule
    page = rule["annotations"]["runbook_url"]
    assert page == f"docs/runbooks/{alert}.md"
    text = (ROOT / page).read_text()
    assert text.startswith(f"# {alert}\n\n**{rule['labels']['severity']}**\n")
    parts = ["What it means", "What to look at", "What to do", "Silence it"]
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == parts
    assert f"alertname={alert}" in text


def test_there_is_no_runbook_of_an_alert_that_is_gone() -> None:
    pages = {file.stem for file in (ROOT / "docs/runbooks").glob("*.md")} - {"README"}
    assert pages == set(ALERTS)
    index = (ROOT / "docs/runbooks/README.md").read_text()
    assert set(re.findall(r"\| \[(\w+)\]\(\w+\.md\) \| (?:critical|warning) \|", index)) == pages


def test_few_alerts_wake_somebody() -> None:
    assert len([rule for rule in ALERTS.values() if rule["labels"]["severity"] == "critical"]) <= 6


def test_what_alerts_read_of_recordings_is_recorded() -> None:
    recorded = {rule["record"] for rule in rules("record")}
    read = {name for rule in ALERTS.values() for name in metrics_of(rule["expr"]) if ":" in name}
    assert read == recorded
