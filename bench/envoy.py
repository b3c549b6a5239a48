"""Envoy as docs/examples/envoy.yaml says, in front of addresses of this machine. `make envoy` fetches it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from bench.processes import free_port

_ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = _ROOT / "docs" / "examples" / "envoy.yaml"
_FETCHED = _ROOT / ".cache" / "envoy" / "bin" / "envoy"
_START_S = 30.0
_STOP_S = 10.0


def envoy_program() -> Path | None:
    """What WARDGATE_BENCH_ENVOY names, `make envoy` fetched, or the PATH has."""
    found = os.environ.get("WARDGATE_BENCH_ENVOY") or (_FETCHED if _FETCHED.exists() else shutil.which("envoy"))
    return Path(found) if found else None


@contextlib.contextmanager
def envoy(program: Path, addresses: Sequence[str], folder: Path) -> Iterator[str]:
    """Its address, once it has found every replica healthy."""
    port, admin_port = free_port(), free_port()
    config, log = folder / "envoy.yaml", folder / "envoy.log"
    config.write_text(yaml.safe_dump(_configured(addresses, port, admin_port)))
    with log.open("wb") as output:
        command = [
            str(program),
            "-c",
            str(config),
            "--concurrency",
            "1",
            "--log-level",
            "warn",
            "--use-dynamic-base-id",
        ]
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            _wait_for(len(addresses), admin_port, process, log)
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _configured(addresses: Sequence[str], port: int, admin_port: int) -> dict[str, Any]:
    """The example, with these ports and endpoints in the place of its own."""
    document: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text())
    document["admin"]["address"]["socket_address"]["port_value"] = admin_port
    resources = document["static_resources"]
    resources["listeners"][0]["address"]["socket_address"]["port_value"] = port
    resources["clusters"][0]["load_assignment"]["endpoints"] = [
        {"lb_endpoints": [{"endpoint": {"address": {"socket_address": _socket(one)}}} for one in addresses]}
    ]
    return document


def _socket(address: str) -> dict[str, str | int]:
    host, _, port = address.rpartition(":")
    return {"address": host, "port_value": int(port)}


def _wait_for(replicas: int, admin_port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"Envoy ended with {process.returncode}:\n{log.read_text()[-2000:]}")
        if _clusters(admin_port).count("health_flags::healthy") == replicas:
            return
        time.sleep(0.05)
    raise RuntimeError(f"Envoy did not find every replica healthy within {_START_S} s:\n{log.read_text()[-2000:]}")


def _clusters(admin_port: int) -> str:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{admin_port}/clusters") as answer:
        text: str = answer.read().decode()
        return text
    return ""
