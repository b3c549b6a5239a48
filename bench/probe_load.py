"""Latency of Check with and without a suite of probes at work in the service: `python -m bench.probe_load`.

One server; windows alternate between a run that is paused, whose process is gone, and one that is at work. `full` are
closed loops that never rest, where probes get their small share only; `light` leaves gaps in which probes go on until
the next request stops them. The target is a p99 that is at most 10 % higher. Prints one JSON object; fails on an error,
and where no probe was at work while it was measured, since then nothing was.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from bench.load import LoadPlan, run_load
from bench.machine import machine, versions
from bench.processes import ServerProcess, free_port, server
from service.config import load_settings
from wardgate import Client
from wardgate.v1.probe_pb2 import PROBE_RUN_STATE_RUNNING

_TOKEN = "bench-admin-token-0123456789"
_TARGET = 0.10  # of p99
_TEXTS = 256
_WARM_UP_S = 2.0
_TIMEOUT_S = 30.0
_START_S = 300.0  # of a probe process, its models included
_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Traffic:
    name: str
    clients: int
    pause_s: float


@dataclass
class Side:
    """All windows with probes, or without."""

    latency_s: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)  # of each window
    errors: int = 0
    units: int = 0
    preemptions: float = 0.0

    def report(self) -> dict[str, object]:
        cuts = _cuts(self.latency_s)
        return {
            "requests": len(self.latency_s),
            "p50_ms": round(cuts[49] * 1000, 2),
            "p99_ms": round(cuts[98] * 1000, 2),
            "p99_ms_of_windows": self.p99_ms,
            "errors": self.errors,
            "units_done": self.units,
            "preemptions": self.preemptions,
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=6, help="pairs of windows for each kind of traffic")
    parser.add_argument("--window-s", type=float, default=20.0)
    parser.add_argument("--clients", type=int, default=8, help="of the full traffic")
    parser.add_argument("--suite", default="guard")
    parser.add_argument("--config", type=Path, metavar="FILE", help="other settings to start from")
    parser.add_argument("--out", type=Path, metavar="FILE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = _measure(Path(folder), options)
    text = json.dumps(report, indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")
    return 0 if report["sound"] else 1


def _measure(folder: Path, options: argparse.Namespace) -> dict[str, object]:
    port, http_port = free_port(), free_port()
    config = _config(folder, port, http_port, options.config)
    every = (Traffic("full", options.clients, 0.0), Traffic("light", 4, 1.0))
    traffics: dict[str, object] = {}
    sound = True
    with (
        server(["-m", "service", "serve", "--config", str(config)], port, folder / "server.log") as process,
        Client(process.address, token=_TOKEN, timeout=_TIMEOUT_S) as client,
    ):
        run = client.start_probe_run(options.suite).id
        for traffic in every:
            without, beside = Side(), Side()
            for _ in range(options.rounds):
                client.pause_probe_run(run)
                _window(process, client, http_port, run, traffic, options.window_s, without)
                client.resume_probe_run(run)
                _wait_until_at_work(client, run)
                _window(process, client, http_port, run, traffic, options.window_s, beside)
            rise = _cuts(beside.latency_s)[98] / _cuts(without.latency_s)[98] - 1
            # A stopped probe was at work before; a paused run has none to stop.
            at_work = beside.preemptions > 0 and without.preemptions == without.units == 0
            sound &= at_work and without.errors + beside.errors == 0
            traffics[traffic.name] = {
                "clients": traffic.clients,
                "pause_s": traffic.pause_s,
                "without_probes": without.report(),
                "beside_probes": beside.report(),
                "p99_rise": round(rise, 4),
                "within_target": rise <= _TARGET,
            }
    settings = load_settings(config).probing
    return {
        "traffic": traffics,
        "sound": sound,
        "target_p99_rise": _TARGET,
        "suite": options.suite,
        "idle_s": settings.idle_s,
        "min_share": settings.min_share,
        "window_s": options.window_s,
        "machine": machine(),
        "versions": versions(),
    }


def _window(
    process: ServerProcess, client: Client, http_port: int, run: str, traffic: Traffic, window_s: float, side: Side
) -> None:
    units, preemptions = client.get_probe_run(run).units_done, _preemptions(http_port)
    plan = LoadPlan(
        process.address, process.pid, traffic.clients, _TEXTS, _WARM_UP_S, window_s, pause_s=traffic.pause_s
    )
    result = run_load(plan)
    side.latency_s += result.latency_s
    side.p99_ms.append(round(_cuts(result.latency_s)[98] * 1000, 2))
    side.errors += result.errors
    side.units += client.get_probe_run(run).units_done - units
    side.preemptions += _preemptions(http_port) - preemptions


def _wait_until_at_work(client: Client, run: str) -> None:
    """Past the loading of its models: another unit is done."""
    before, until = client.get_probe_run(run).units_done, time.monotonic() + _START_S
    while time.monotonic() < until:
        now = client.get_probe_run(run)
        if now.state == PROBE_RUN_STATE_RUNNING and now.units_done > before:
            return
        if now.error or now.finished_at.seconds:
            raise RuntimeError(f"the run has ended; take a longer suite: {now.error}")
        time.sleep(_POLL_S)
    raise RuntimeError(f"no unit was done within {_START_S} s")


def _preemptions(http_port: int) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{http_port}/metrics", timeout=_TIMEOUT_S) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.split()[1]) for line in lines if line.startswith("wardgate_probe_preemptions_total "))


def _cuts(latency_s: list[float]) -> list[float]:
    return statistics.quantiles(latency_s, n=100)


def _config(folder: Path, port: int, http_port: int, base: Path | None) -> Path:
    (folder / "admins").write_text(_TOKEN + "\n")
    settings = yaml.safe_load(base.read_text()) if base else {}
    settings |= {
        "grpc": {"port": port, "admin_tokens_file": str(folder / "admins")},
        "http": {"port": http_port},
        "backend": {"kind": "none"},
        "store": {"url": f"sqlite:///{folder}/store.db"},
        "log": {"level": "warning"},
    }
    config = folder / "wardgate.yaml"
    config.write_text(yaml.safe_dump(settings))
    return config


if __name__ == "__main__":
    sys.exit(main())
