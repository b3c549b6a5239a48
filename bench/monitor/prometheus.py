"""A real Prometheus with the shipped rules: started, asked and ended."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench.processes import free_port
from helm.monitoring.expressions import RULE_FILES

SCRAPE_S = 2
_START_S = 60.0
_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Series:
    """`points`: seconds since 1970 and value."""

    labels: dict[str, str]
    points: Sequence[tuple[float, float]]


class Prometheus:
    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}/api/v1"

    def now(self, expr: str) -> list[Series]:
        """An instant query. Raises RuntimeError with Prometheus's words where it refuses one."""
        found = self._ask("query", query=expr)
        if found["resultType"] == "scalar":
            return [Series({}, [_point(found["result"])])]
        return [Series(one["metric"], [_point(one["value"])]) for one in found["result"]]

    def over(self, expr: str, start: float, end: float, step: float) -> list[Series]:
        """A range query, over seconds since 1970."""
        found = self._ask("query_range", query=expr, start=start, end=end, step=step)
        return [Series(one["metric"], [_point(pair) for pair in one["values"]]) for one in found["result"]]

    def faults_of_rules(self) -> list[str]:
        """Rules that could not be evaluated, with the reason."""
        groups = self._ask("rules")["groups"]
        return [
            f"{rule['name']}: {rule['lastError']}" for one in groups for rule in one["rules"] if rule.get("lastError")
        ]

    def states_of_alerts(self) -> dict[str, str]:
        """`firing`, `pending` or `inactive`, by name."""
        groups = self._ask("rules")["groups"]
        return {rule["name"]: rule["state"] for one in groups for rule in one["rules"] if rule["type"] == "alerting"}

    def _ask(self, path: str, **parameters: object) -> Any:
        url = f"{self._base}/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"Prometheus refuses {parameters}: {error.read().decode()}") from error


@contextlib.contextmanager
def prometheus(folder: Path, target: str) -> Iterator[Prometheus]:
    """Scrapes `target`, host:port, every two seconds, with the rules of the chart. Raises RuntimeError."""
    program = shutil.which("prometheus")
    if program is None:
        raise RuntimeError("prometheus is not installed; on Debian: apt-get install --no-install-recommends prometheus")
    port, config = free_port(), folder / "prometheus.yml"
    config.write_text(yaml.safe_dump(_config(target)))
    command = [program, f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
    try:
        _wait_until_ready(port, process, folder / "prometheus.log")
        yield Prometheus(port)
    finally:
        process.terminate()
        process.wait(_TIMEOUT_S)


def _config(target: str) -> dict[str, Any]:
    every = f"{SCRAPE_S}s"
    return {
        "global": {"scrape_interval": every, "evaluation_interval": every, "scrape_timeout": every},
        "rule_files": [str(file) for file in sorted(RULE_FILES.glob("*.yaml"))],
        "scrape_configs": [{"job_name": "wardgate", "static_configs": [{"targets": [target]}]}],
    }


def _wait_until_ready(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _START_S
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=1):
            return
        time.sleep(0.1)
    raise RuntimeError(f"Prometheus did not start:\n{log.read_text()[-2000:]}")


def _point(pair: Sequence[Any]) -> tuple[float, float]:
    return float(pair[0]), float(pair[1])
