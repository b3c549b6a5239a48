"""Latency of Check with and without explanations at work in the service: `python -m bench.explanation_load`.

One server under one traffic; short windows alternate between a caller who asks for one explanation after the other,
each with its whole budget, and none. `full` are closed loops that never rest, `light` leaves gaps. Between windows the
traffic rests until the last explanation is done, which under full load would take half a minute.
The target is a p99 that is at most 10 % higher. The interval is of 2,000 resamples of pairs of windows. Prints one
JSON object; fails on an error, and where no explanation was done while it was measured, since then nothing was.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from bench.load import METHOD, check_requests
from bench.machine import machine, versions
from bench.replicas import replicas
from bench.texts import mixed_texts
from service.config import ExplanationSettings
from wardgate import AsyncClient, WardgateError

_TARGET = 0.10  # of p99
_TEXTS = 256
_TIMEOUT_S = 120.0
_START_S = 900.0
_SETTLE_S = 0.5  # after each change, before what counts
_RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Traffic:
    name: str
    clients: int
    pause_s: float


TRAFFICS = (Traffic("full", 8, 0.0), Traffic("light", 4, 0.25))


@dataclass
class Window:
    latency_s: list[float] = field(default_factory=list)


class Load:
    """Closed loops of Check; what ends is noted in the window of the moment, if there is one."""

    def __init__(self, channel: grpc.aio.Channel, traffic: Traffic) -> None:
        self._call = channel.unary_unary(METHOD, None, None)
        self._requests = check_requests(_TEXTS)
        self._turns = itertools.count()
        self._traffic = traffic
        self._going = asyncio.Event()
        self.window: Window | None = None
        self.errors = 0

    def go_on(self) -> None:
        self._going.set()

    def rest(self) -> None:
        """What is under way still ends."""
        self._going.clear()

    async def run(self) -> None:
        while True:
            await self._going.wait()
            request = self._requests[next(self._turns) % len(self._requests)]
            started = time.perf_counter()
            try:
                await self._call(request, timeout=_TIMEOUT_S)
            except grpc.aio.AioRpcError:
                self.errors += 1
            if self.window is not None:
                self.window.latency_s.append(time.perf_counter() - started)
            await asyncio.sleep(self._traffic.pause_s)


class Explaining:
    """One explanation after the other, while it is wanted."""

    def __init__(self, client: AsyncClient, method: str) -> None:
        self._client = client
        self._method = method
        self._texts = itertools.cycle(mixed_texts(_TEXTS, seed=1))
        self._wanted = asyncio.Event()
        self._resting = asyncio.Event()
        self.done = 0
        self.errors: list[str] = []

    async def run(self) -> None:
        while True:
            if not self._wanted.is_set():
                self._resting.set()
                await self._wanted.wait()
            self._resting.clear()
            try:
                await self._client.explain(next(self._texts), method=self._method, timeout=_TIMEOUT_S)
                self.done += 1
            except WardgateError as error:
                self.errors.append(str(error))

    def begin(self) -> None:
        self._wanted.set()

    async def end(self) -> None:
        """Once the last one is done."""
        self._wanted.clear()
        await self._resting.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="pairs of windows for each kind of traffic")
    parser.add_argument("--window-s", type=float, default=6.0)
    parser.add_argument(
        "--traffic", choices=[traffic.name for traffic in TRAFFICS], help="only this one; both by default"
    )
    parser.add_argument("--method", default="auto", help="of the explanations; auto uses its whole budget")
    parser.add_argument("--niceness", type=int, default=None, help="the server's explanations.niceness")
    parser.add_argument("--out", type=Path, metavar="FILE")
    options = parser.parse_args()
    explanations: dict[str, Any] = {"preload": True}
    if options.niceness is not None:
        explanations["niceness"] = options.niceness
    settings = {"explanations": explanations, "log": {"level": "warning"}}
    with tempfile.TemporaryDirectory() as folder, replicas(Path(folder), [settings]) as (one,):
        report = asyncio.run(_measure(one.address, options))
    text = json.dumps(report, indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")
    return 0 if report["sound"] else 1


async def _measure(address: str, options: argparse.Namespace) -> dict[str, Any]:
    traffics: dict[str, Any] = {}
    async with (
        AsyncClient(address, generate_timeout=_TIMEOUT_S) as client,
        grpc.aio.insecure_channel(address) as channel,
    ):
        await _warm_up(client)
        for traffic in (traffic for traffic in TRAFFICS if options.traffic in (None, traffic.name)):
            traffics[traffic.name] = await _alternate(client, channel, traffic, options)
    return {
        "traffic": traffics,
        "sound": all(found["errors"] == 0 and found["explanations"] > 0 for found in traffics.values()),
        "target_p99_rise": _TARGET,
        "method": options.method,
        "budget_s": ExplanationSettings().default_budget_s,
        "window_s": options.window_s,
        "rounds": options.rounds,
        "machine": machine(),
        "versions": versions(),
    }


async def _warm_up(client: AsyncClient) -> None:
    """The process is up and its model open; behind everything else on a busy machine, that takes its time."""
    until = time.monotonic() + _START_S
    while True:
        with contextlib.suppress(WardgateError):
            await client.explain("Which tea is best?", method="fast", timeout=_TIMEOUT_S)
            return
        if time.monotonic() > until:
            raise RuntimeError(f"no explanation within {_START_S:.0f} s: the machine has no time for it")


async def _alternate(
    client: AsyncClient, channel: grpc.aio.Channel, traffic: Traffic, options: argparse.Namespace
) -> dict[str, Any]:
    load, explaining = Load(channel, traffic), Explaining(client, options.method)
    without: list[Window] = []
    beside: list[Window] = []
    tasks = [asyncio.create_task(load.run()) for _ in range(traffic.clients)]
    tasks.append(asyncio.create_task(explaining.run()))
    try:
        for _ in range(options.rounds):
            without.append(await _window(load, options.window_s))
            explaining.begin()
            beside.append(await _window(load, options.window_s))
            load.rest()
            await explaining.end()
    finally:
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
    rise = _rise(without, beside, 99)
    return {
        "clients": traffic.clients,
        "pause_s": traffic.pause_s,
        "without": _report(without),
        "beside": _report(beside),
        "explanations": explaining.done,
        "errors": load.errors + len(explaining.errors),
        "first_errors": explaining.errors[:3],
        "p99_rise": round(rise, 4),
        "p99_rise_95": _interval(without, beside, 99),
        "p90_rise": round(_rise(without, beside, 90), 4),
        "p90_rise_95": _interval(without, beside, 90),
        "p50_rise": round(_rise(without, beside, 50), 4),
        "within_target": rise <= _TARGET,
    }


async def _window(load: Load, seconds: float) -> Window:
    load.go_on()
    await asyncio.sleep(_SETTLE_S)
    window = load.window = Window()
    await asyncio.sleep(seconds)
    load.window = None
    return window


def _percentile(windows: Sequence[Window], percentile: float) -> float:
    return float(np.percentile(np.concatenate([window.latency_s for window in windows]), percentile))


def _rise(without: Sequence[Window], beside: Sequence[Window], percentile: float) -> float:
    return _percentile(beside, percentile) / _percentile(without, percentile) - 1


def _interval(without: Sequence[Window], beside: Sequence[Window], percentile: float) -> list[float]:
    """95 %. Wide where the machine was not quiet, and then the rise says little."""
    chance = random.Random(7)
    rises = []
    for _ in range(_RESAMPLES):
        chosen = chance.choices(range(len(without)), k=len(without))
        rises.append(_rise([without[i] for i in chosen], [beside[i] for i in chosen], percentile))
    return [round(float(bound), 4) for bound in np.percentile(rises, (2.5, 97.5))]


def _report(windows: Sequence[Window]) -> dict[str, Any]:
    return {
        "requests": sum(len(window.latency_s) for window in windows),
        "p50_ms": round(_percentile(windows, 50) * 1000, 2),
        "p90_ms": round(_percentile(windows, 90) * 1000, 2),
        "p99_ms": round(_percentile(windows, 99) * 1000, 2),
    }


if __name__ == "__main__":
    sys.exit(main())
