"""Calls that fail while every replica is restarted in turn: `python -m bench.rolling_restart --through client`.

Three servers with stores of their own, a stub in the place of the wrapped model, Check and Generate four to one.
`--through client`: our Python client over the three addresses. `--through envoy`: a plain gRPC client without retries,
behind Envoy as docs/examples/envoy.yaml says. `--how kill` ends replicas by SIGKILL, which nothing can hide fully from
a client that does not try again. Prints one JSON object; fails where a call did.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from bench.envoy import envoy, envoy_program
from bench.machine import machine, versions
from bench.replicas import Ended, Replica, replicas
from bench.texts import mixed_texts
from bench.upstream import backend_settings, upstream
from service.config import load_settings
from wardgate import AsyncClient, WardgateError
from wardgate.requests import check_request, generate_request
from wardgate.v1.guardrail_pb2_grpc import GuardrailServiceStub

_ANSWER_S = 0.05  # of the wrapped model
_GENERATE_EVERY = 5  # calls
_WORDS = 12  # of a text: this is about calls, not about scores
_TIMEOUT_S = 30.0
_SETTLE_S = 1.0  # between one replica's return and the next one's end
_SHARE_BEFORE = 0.2  # of the calls, ahead of the first restart

Call = Callable[[str], Awaitable[object]]


@dataclass
class Phase:
    name: str
    latency_s: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def report(self) -> dict[str, object]:
        figures: dict[str, object] = {"calls": len(self.latency_s), "errors": self.errors.total()}
        if len(self.latency_s) > 1:
            cuts = statistics.quantiles(self.latency_s, n=100)
            figures |= {"p50_ms": round(cuts[49] * 1000, 1), "p99_ms": round(cuts[98] * 1000, 1)}
            figures["most_ms"] = round(max(self.latency_s) * 1000, 1)
        return figures


class Load:
    """Closed loops with a pause; what ends is noted in the phase of the moment, failed or not."""

    def __init__(self, check: Call, generate: Call, pause_s: float) -> None:
        self._calls = check, generate
        self._pause_s = pause_s
        self._texts = [" ".join(text.split()[:_WORDS]) for text in mixed_texts(400)]
        self._begun = 0
        self._ended = asyncio.Event()  # one call has
        self.running = True
        self.messages: Counter[str] = Counter()
        self.phases = [Phase("before")]

    @property
    def done(self) -> int:
        return sum(len(phase.latency_s) for phase in self.phases)

    async def run(self) -> None:
        check, generate = self._calls
        while self.running:
            self._begun += 1
            call = check if self._begun % _GENERATE_EVERY else generate
            started = time.perf_counter()
            try:
                await call(self._texts[self._begun % len(self._texts)])
            except (WardgateError, grpc.aio.AioRpcError) as error:
                self._failed(error)
            self.phases[-1].latency_s.append(time.perf_counter() - started)
            self._ended.set()
            await asyncio.sleep(self._pause_s)

    async def until(self, calls: int) -> None:
        while self.done < calls:
            self._ended.clear()
            await self._ended.wait()

    def _failed(self, error: WardgateError | grpc.aio.AioRpcError) -> None:
        if isinstance(error, WardgateError):
            name, message = error.code.name, str(error)
        else:
            name, message = error.code().name, str(error.details())
        self.phases[-1].errors[name] += 1
        self.messages[f"{name}: {message[:160]}"] += 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--through", choices=["client", "envoy"], default="client")
    parser.add_argument("--how", choices=["stop", "kill"], default="stop", help="SIGTERM or SIGKILL")
    parser.add_argument("--rpcs", type=int, default=5000, help="at least")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--pause-s", type=float, default=0.1, help="of each client between two calls")
    parser.add_argument("--shutdown-delay-s", type=float, default=0.0, help="the servers' grpc.shutdown_delay_s")
    parser.add_argument("--out", type=Path, metavar="FILE", help="kept beside what other runs wrote to it")
    options = parser.parse_args()
    if options.through == "envoy" and envoy_program() is None:
        parser.error("there is no Envoy: run `make envoy`, or name one by WARDGATE_BENCH_ENVOY")
    with tempfile.TemporaryDirectory() as folder:
        report = asyncio.run(_measure(Path(folder), options))
    print(json.dumps(report, indent=1))
    if options.out:
        _keep(options.out, f"{options.through}, {options.how}", report)
    return 1 if report["errors"] else 0


async def _measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    async with upstream(lambda: asyncio.sleep(_ANSWER_S)) as url:
        settings = {
            "grpc": {"shutdown_delay_s": options.shutdown_delay_s},
            "backend": backend_settings(url),
            "log": {"level": "warning"},
        }
        with contextlib.ExitStack() as stack:
            every = await asyncio.to_thread(stack.enter_context, replicas(folder, [settings] * 3))
            async with _calls(options.through, [replica.address for replica in every], folder) as (check, generate):
                load = Load(check, generate, options.pause_s)
                restarts = await _drive(load, every, options)
            served = [_served(replica) for replica in every]
            logged = [line for replica in every for line in replica.log.splitlines()]
    errors: Counter[str] = sum((phase.errors for phase in load.phases), Counter())
    return {
        "through": options.through,
        "how": options.how,
        "calls": load.done,
        "errors": errors.total(),
        "errors_by_code": dict(errors),
        "messages": dict(load.messages),
        "phases": {phase.name: phase.report() for phase in load.phases},
        "restarts": restarts,
        "served_since_restart": served,
        "warnings_logged": len(logged),
        "first_warnings": logged[:5],
        "shutdown_delay_s": options.shutdown_delay_s,
        "drain_s": load_settings(None).grpc.drain_s,
        "clients": options.clients,
        "pause_s": options.pause_s,
        "machine": machine(),
        "versions": versions(),
    }


async def _drive(load: Load, every: Sequence[Replica], options: argparse.Namespace) -> list[dict[str, float]]:
    restarts = []
    async with asyncio.TaskGroup() as tasks:
        for _ in range(options.clients):
            tasks.create_task(load.run())
        try:
            await load.until(int(options.rpcs * _SHARE_BEFORE))
            load.phases.append(Phase("during"))
            for replica in every:
                ended: Ended = await asyncio.to_thread(replica.stop if options.how == "stop" else replica.kill)
                start_s = await asyncio.to_thread(replica.start)
                restarts.append(
                    {"exit_code": ended.code, "stop_s": round(ended.seconds, 2), "start_s": round(start_s, 2)}
                )
                await asyncio.sleep(_SETTLE_S)
            load.phases.append(Phase("after"))
            await load.until(max(options.rpcs, int(load.done + options.rpcs * _SHARE_BEFORE)))
        finally:
            load.running = False
    return restarts


@contextlib.asynccontextmanager
async def _calls(through: str, addresses: list[str], folder: Path) -> AsyncIterator[tuple[Call, Call]]:
    if through == "client":
        target = "ipv4:" + ",".join(addresses)
        async with AsyncClient(target, timeout=_TIMEOUT_S, generate_timeout=_TIMEOUT_S) as client:
            yield client.check, client.generate
        return
    program = envoy_program()
    assert program is not None
    with contextlib.ExitStack() as stack:
        address = await asyncio.to_thread(stack.enter_context, envoy(program, addresses, folder))
        async with grpc.aio.insecure_channel(address, [("grpc.enable_retries", 0)]) as channel:
            stub = GuardrailServiceStub(channel)  # type: ignore[no-untyped-call]
            yield (
                lambda text: stub.Check(check_request(text), timeout=_TIMEOUT_S),
                lambda text: stub.Generate(generate_request(text), timeout=_TIMEOUT_S),
            )


def _served(replica: Replica) -> int:
    """Calls that it has answered since its last start."""
    with urllib.request.urlopen(f"http://127.0.0.1:{replica.http_port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    ours = 'grpc_server_handled_total{grpc_code="OK"'
    return int(sum(float(line.split()[-1]) for line in lines if line.startswith(ours) and "Guardrail" in line))


def _keep(file: Path, name: str, report: dict[str, Any]) -> None:
    kept = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**kept, name: report}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
