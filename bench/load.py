"""A closed-loop gRPC client in its own process: `python -m bench.load JSON` prints a LoadResult as JSON.

Lean, for it shares the machine with the server: requests are serialised beforehand, replies stay bytes.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import grpc
import psutil

from bench.processes import environment
from bench.texts import mixed_texts
from wardgate.v1 import conversation_pb2 as conversation
from wardgate.v1 import guardrail_pb2 as guardrail

METHOD = "/wardgate.v1.GuardrailService/Check"
_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class LoadPlan:
    address: str
    server_pid: int
    clients: int
    texts: int
    warm_up_s: float
    window_s: float
    pause_s: float = 0.0  # of each client between two requests


@dataclass(frozen=True, slots=True)
class LoadResult:
    """`text` and `latency_s` are of the requests that ended inside the window, in that order."""

    seconds: float
    text: list[int]
    latency_s: list[float]
    errors: int
    server_cpu_s: float
    client_cpu_s: float


def check_requests(texts: int) -> list[bytes]:
    return [
        guardrail.CheckRequest(
            messages=[conversation.Message(role=conversation.ROLE_USER, parts=[conversation.ContentPart(text=text)])]
        ).SerializeToString()
        for text in mixed_texts(texts)
    ]


def run_load(plan: LoadPlan) -> LoadResult:
    """In a fresh process, so that its CPU is not the caller's and its channel is new."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.load", json.dumps(asdict(plan))],
        env=environment(),
        stdout=subprocess.PIPE,
        check=True,
        timeout=plan.warm_up_s + plan.window_s + 2 * _TIMEOUT_S,
    )
    return LoadResult(**json.loads(done.stdout))


class _Window:
    """What ended between `begin` and `end`."""

    def __init__(self, plan: LoadPlan) -> None:
        self._server = psutil.Process(plan.server_pid)
        self._open = False
        self.closed = False
        self.text: list[int] = []
        self.latency_s: list[float] = []
        self.errors = 0

    def begin(self) -> None:
        self._open = True
        self._started, self._server_cpu, self._client_cpu = time.perf_counter(), self._cpu_s(), time.process_time()

    def note(self, text: int, latency_s: float) -> None:
        if self._open:
            self.text.append(text)
            self.latency_s.append(latency_s)

    def end(self) -> LoadResult:
        self._open, self.closed = False, True
        return LoadResult(
            time.perf_counter() - self._started,
            self.text,
            self.latency_s,
            self.errors,
            self._cpu_s() - self._server_cpu,
            time.process_time() - self._client_cpu,
        )

    def _cpu_s(self) -> float:
        times = self._server.cpu_times()
        return float(times.user + times.system)


async def _client(
    channel: grpc.aio.Channel, requests: list[bytes], turns: Iterator[int], window: _Window, pause_s: float
) -> None:
    call = channel.unary_unary(METHOD, None, None)
    while not window.closed:
        text = next(turns) % len(requests)
        started = time.perf_counter()
        try:
            await call(requests[text], timeout=_TIMEOUT_S)
        except grpc.aio.AioRpcError:
            window.errors += 1
            continue
        window.note(text, time.perf_counter() - started)
        if pause_s:
            await asyncio.sleep(pause_s)


async def _measure(plan: LoadPlan) -> LoadResult:
    requests = check_requests(plan.texts)
    window = _Window(plan)
    turns = itertools.count()
    async with grpc.aio.insecure_channel(plan.address) as channel, asyncio.TaskGroup() as tasks:
        for _ in range(plan.clients):
            tasks.create_task(_client(channel, requests, turns, window, plan.pause_s))
        await asyncio.sleep(plan.warm_up_s)
        window.begin()
        await asyncio.sleep(plan.window_s)
        return window.end()


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(_measure(LoadPlan(**json.loads(sys.argv[1])))))))
