"""Libraries that report their use to their makers do not do so from here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("module", "reports"),
    [("onnxruntime", True), ("guards.rewards.runtimes.onnx", False)],  # the first shows that the second could fail
)
def test_onnxruntime_prepares_no_report_of_our_use(module: str, reports: bool, tmp_path: Path) -> None:
    quiet = {"CI", "GITHUB_ACTIONS", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS"}  # these stop it by themselves
    environment = {name: value for name, value in os.environ.items() if name not in quiet}
    environment |= {"XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", f"import {module}"]
    subprocess.run(command, env=environment, cwd=tmp_path, check=True, timeout=120)
    assert bool([path for path in tmp_path.rglob("*") if path.is_file()]) == reports
