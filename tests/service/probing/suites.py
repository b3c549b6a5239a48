"""Small suites, and a service that runs them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from guards.probes.base import Measured, ProbeKind, Setting, Trial
from guards.probes.records import UnitOutcome, to_json
from service.config import Settings
from service.probing.results import results_to_json
from tests.service.rollout.versions import Versions

TINY = """
name: tiny
description: Two disguises of a few prompts.
probes:
  - kind: disguise
    transformations: [leet, base64]
    severities: [0.5]
    harmful: {set: harmful, count: 16}
    benign: {set: benign, count: 8}
"""
TINY_UNITS = 6
FAKE_UNITS = 6


def settings_for(versions: Versions, **sections: Any) -> Settings:
    """With a store and a folder of suites in the test's own folder."""
    suites = versions.root / "suites"
    suites.mkdir(exist_ok=True)
    if not (suites / "tiny.yaml").exists():
        write_suite(suites, "tiny", TINY)
    probing: Mapping[str, Any] = {"suites": suites, "lease_s": 3.0, **sections.pop("probing", {})}
    return versions.settings(probing=probing, **sections)


def write_suite(folder: Path, name: str, text: str) -> None:
    (folder / f"{name}.yaml").write_text(text)


def write_outcomes(folder: Path) -> None:
    """What the fake worker says: every attack gets through, and one harmless text is withheld."""
    outcomes = [
        UnitOutcome(f"tiny/{number}", 0.25, tuple(_measured(kind, number) for kind in ProbeKind))
        for number in range(FAKE_UNITS)
    ]
    results = results_to_json(outcomes, {"other": "needs model, which this server has not"})
    (folder / "units.json").write_text(json.dumps([to_json(outcome) for outcome in outcomes]))
    (folder / "results.json").write_text(json.dumps(results))


def _measured(kind: ProbeKind, number: int) -> Measured:
    setting = Setting("tiny", "guard", "encoding", kind, {"transformation": "base64", "severity": 0.5})
    hit = number == 0 or kind is ProbeKind.ATTACK
    tried = Trial(f"{number}", success=hit, clean=True, adversarial=not hit)
    return Measured(setting, (tried, Trial("x", skipped="no")))
