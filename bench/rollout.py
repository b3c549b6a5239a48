"""Calls under load while versions take over: `python -m bench.rollout` prints one JSON object, and fails on an error.

A second version of the embedded model, its last bias moved a little, goes through shadow, canary, promotion and
rollback while clients call without pause, each request in a session of its own. Nothing is written outside a temporary
folder.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from safetensors.numpy import load_file, save_file

from bench.machine import machine, versions
from bench.processes import ServerProcess, free_port, server
from bench.texts import mixed_texts
from guards.rewards.manifest import HEADS_FILE, file_sha256, load_manifest, save_manifest
from guards.rewards.reward_model import EMBEDDED_DIR
from service.config import load_settings
from wardgate import AsyncClient, WardgateError

_TOKEN = "bench-admin-token-0123456789"
_SECOND = "perturbed"
_SHIFT = 0.05  # of the last bias, in reward logits
_TIMEOUT_S = 120.0  # of a call, and
_CHANGE_S = 290.0  # of a change: generous, for what counts is what fails for another reason
_SERIES = ("wardgate_reward_model_info", "wardgate_rollout", "wardgate_scored_requests_total", "wardgate_shadow")


@dataclass
class Phase:
    """What ended between two changes. `change_s`: how long the change before it took."""

    name: str
    change_s: float
    replies: Counter[str] = field(default_factory=Counter)
    latency_s: list[float] = field(default_factory=list)

    def report(self) -> dict[str, object]:
        cuts = statistics.quantiles(self.latency_s, n=100)
        figures = {"p50_ms": round(cuts[49] * 1000, 1), "p99_ms": round(cuts[98] * 1000, 1)}
        return {"phase": self.name, "change_s": round(self.change_s, 2), "replies": dict(self.replies), **figures}


class Load:
    """Closed-loop clients; what ends is noted in the phase of the moment."""

    def __init__(self, client: AsyncClient, texts: list[str]) -> None:
        self._client = client
        self._texts = texts
        self._number = 0
        self._running = True
        self.errors: Counter[str] = Counter()
        self.phases = [Phase("active", 0.0)]

    async def run(self) -> None:
        while self._running:
            self._number += 1
            text, session = self._texts[self._number % len(self._texts)], {"session_id": f"session-{self._number}"}
            started = time.perf_counter()
            try:
                reply = await self._client.check(text, context=session)
            except WardgateError as error:
                self.errors[f"{error.code.name} {error.reason}"] += 1
                continue
            self.phases[-1].latency_s.append(time.perf_counter() - started)
            self.phases[-1].replies[reply.provenance.reward_model_digest[:12]] += 1

    async def change(self, name: str, change: Callable[[], Awaitable[object]]) -> None:
        started = time.perf_counter()
        await change()
        self.phases.append(Phase(name, time.perf_counter() - started))

    def stop(self) -> None:
        self._running = False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--phase-s", type=float, default=6.0, help="seconds between two changes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = _measure(Path(folder), options.clients, options.phase_s)
    print(json.dumps(report, indent=1))
    return 1 if report["errors"] else 0


def _measure(folder: Path, clients: int, phase_s: float) -> dict[str, object]:
    port, http_port = free_port(), free_port()
    config = _config(folder, port, http_port)
    with server(["-m", "service", "serve", "--config", str(config)], port, folder / "server.log") as process:
        load = asyncio.run(_drive(process, clients, phase_s))
        with urllib.request.urlopen(f"http://127.0.0.1:{http_port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        memory = process.memory()
    replies = sum((phase.replies for phase in load.phases), Counter[str]())
    return {
        "requests": replies.total() + load.errors.total(),
        "errors": load.errors.total(),
        "errors_by_code": dict(load.errors),
        "replies_by_digest": dict(replies),
        "phases": [phase.report() for phase in load.phases],
        "metrics": [line for line in lines if line.startswith(_SERIES) and "_created" not in line],
        "rss_mb": round(memory.rss),
        "clients": clients,
        "machine": machine(),
        "versions": versions(),
    }


async def _drive(process: ServerProcess, clients: int, phase_s: float) -> Load:
    async with AsyncClient(process.address, token=_TOKEN, timeout=_TIMEOUT_S) as client, asyncio.TaskGroup() as tasks:
        load = Load(client, mixed_texts(400))
        for _ in range(clients):
            tasks.create_task(load.run())
        try:
            for name, change in (
                ("shadow", lambda: client.set_rollout(_SECOND, "shadow", timeout=_CHANGE_S)),
                ("canary 25 %", lambda: client.set_rollout(_SECOND, "canary", percent=25, timeout=_CHANGE_S)),
                ("promoted", lambda: client.set_rollout(_SECOND, "active", timeout=_CHANGE_S)),
                ("rolled back", lambda: client.roll_back(timeout=_CHANGE_S)),
            ):
                await asyncio.sleep(phase_s)
                await load.change(name, change)
            await asyncio.sleep(phase_s)
        finally:
            load.stop()
    return load


def _config(folder: Path, port: int, http_port: int) -> Path:
    """The settings, and a second version."""
    write_version(folder / "versions" / _SECOND, _SECOND)
    (folder / "admins").write_text(_TOKEN + "\n")
    settings = {
        "grpc": {"port": port, "admin_tokens_file": str(folder / "admins")},
        "http": {"port": http_port},
        "backend": {"kind": "none"},
        "rollout": {"directory": str(folder / "versions")},
        "model_cache": str(private_cache(folder / "cache")),
        "log": {"level": "warning"},
    }
    config = folder / "wardgate.yaml"
    config.write_text(yaml.safe_dump(settings))
    return config


def private_cache(folder: Path) -> Path:
    """Sees the models of the real cache, and keeps what is written to itself."""
    folder.mkdir()
    for model in load_settings(None).model_cache.iterdir():
        if not model.name.startswith("."):
            (folder / model.name).symlink_to(model)
    return folder


def write_version(folder: Path, version: str, shift: float = _SHIFT) -> None:
    """The embedded heads once more, as another version: `shift` is added to their last biases, in reward logits."""
    folder.mkdir(parents=True)
    tensors = load_file(EMBEDDED_DIR / HEADS_FILE)
    for name in [name for name in tensors if name.endswith(".offset")]:
        tensors[name] = tensors[name] + shift
    save_file(tensors, folder / HEADS_FILE)
    manifest, _ = load_manifest(EMBEDDED_DIR)
    changed = {"version": version, "heads_sha256": file_sha256(folder / HEADS_FILE)}
    save_manifest(manifest.model_copy(update=changed), folder)


if __name__ == "__main__":
    sys.exit(main())
