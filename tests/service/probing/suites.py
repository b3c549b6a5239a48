"""Small suites, and a service that runs them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from service.config import Settings
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


def settings_for(versions: Versions, **sections: Any) -> Settings:
    """With a store and a folder of suites in the test's own folder."""
    suites = versions.root / "suites"
    suites.mkdir(exist_ok=True)
    if not (suites / "tiny.yaml").exists():
        write_suite(suites, "tiny", TINY)
    probing: Mapping[str, Any] = {"suites": suites, "lease_s": 3.0, **sections.pop("probing", {})}
    return versions.settings(store={"url": f"sqlite:///{versions.root}/store.db"}, probing=probing, **sections)


def write_suite(folder: Path, name: str, text: str) -> None:
    (folder / f"{name}.yaml").write_text(text)
