"""What padding costs and what the batcher's cut gains, in this process: the figures of docs/adr/003-batching.md.

`python -m bench.batching [--config FILE]`. CPU per text is the figure to trust on a machine that is not quiet.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import threading
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bench.machine import machine, versions
from bench.texts import mixed_texts
from guards.base import ScoreInput
from guards.normalize import normalize
from guards.rewards.encoding import EncodedSequence, pad
from guards.rewards.reward_model import RewardModel
from service.batcher import Batcher, BatchLimits
from service.config import load_settings
from service.reward_models import open_reward_model

_CALL = (22, 103, 143, 183, 223)  # a prompt of 20 tokens, and 80 to 200 tokens of response after it
_CLIENTS = 64
_FIFO = 32
_FOREVER = 1e12


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one repetition: wall and CPU milliseconds per text or per call."""

    wall_ms: float
    cpu_ms: float
    p50_ms: float = 0.0
    p99_ms: float = 0.0


def sequence(tokens: int) -> EncodedSequence:
    ids = np.arange(2000, 2000 + tokens, dtype=np.int64)
    return EncodedSequence(ids, np.zeros(tokens, dtype=np.int64), 0, tokens)


async def repeated(work: Callable[[], Awaitable[object]], times: int) -> Cost:
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(times):
        await work()
    return Cost(1e3 * (time.perf_counter() - wall) / times, 1e3 * (time.process_time() - cpu) / times)


async def one_call(model: RewardModel, times: int) -> dict[str, Cost]:
    """The same five sequences in three ways."""
    sequences = [sequence(tokens) for tokens in _CALL]
    batcher = Batcher(model.runtime)

    async def padded() -> None:
        model.runtime.forward(pad(sequences))

    async def cut() -> None:
        await batcher.submit(sequences, _FOREVER)

    async def separate() -> None:
        for item in sequences:
            await batcher.submit([item], _FOREVER)

    costs = {
        "one padded forward": await repeated(padded, times),
        "the batcher's cut": await repeated(cut, times),
        "separate calls, one after another": await repeated(separate, times),
    }
    await batcher.close(1.0)
    return costs


async def under_load(model: RewardModel, limits: BatchLimits, sequences: Sequence[EncodedSequence], s: float) -> Cost:
    """64 clients in a closed loop through the batcher, no network."""
    batcher = Batcher(model.runtime, limits)
    turns = itertools.count()
    latencies: list[float] = []
    ends = time.perf_counter() + s

    async def client() -> None:
        while (started := time.perf_counter()) < ends:
            await batcher.submit([sequences[next(turns) % len(sequences)]], _FOREVER)
            latencies.append(1e3 * (time.perf_counter() - started))

    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(client() for _ in range(_CLIENTS)))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    await batcher.close(1.0)
    p50, p99 = np.percentile(latencies, [50, 99])
    return Cost(1e3 * wall / len(latencies), 1e3 * cpu / len(latencies), float(p50), float(p99))


def fifo(model: RewardModel, sequences: Sequence[EncodedSequence], items: int, s: float) -> Cost:
    """Two threads, batches of `items` in order of arrival, padded to the longest."""
    turns = itertools.count()
    done = [0, 0]
    wall, cpu = time.perf_counter(), time.process_time()
    ends = wall + s

    def work(thread: int) -> None:
        while time.perf_counter() < ends:
            first = next(turns) * items
            model.runtime.forward(pad([sequences[(first + i) % len(sequences)] for i in range(items)]))
            done[thread] += items

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Cost(1e3 * (time.perf_counter() - wall) / sum(done), 1e3 * (time.process_time() - cpu) / sum(done))


async def one_round(model: RewardModel, sequences: Sequence[EncodedSequence], times: int, s: float) -> dict[str, Cost]:
    costs = await one_call(model, times)
    costs["mixed texts, one by one"] = await asyncio.to_thread(fifo, model, sequences, 1, s)
    costs["mixed texts, padded batches of 32"] = await asyncio.to_thread(fifo, model, sequences, _FIFO, s)
    for padding, patience in ((0.05, 1.3), (0.12, 1.3), (0.12, 20.0)):
        limits = BatchLimits(max_padding=padding, patience=patience)
        name = f"mixed texts, 64 clients, padding {padding}, patience {patience}"
        costs[name] = await under_load(model, limits, sequences, s)
    return costs


def figures(rounds: Sequence[dict[str, Cost]]) -> dict[str, dict[str, float]]:
    """Medians over rounds."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for name in rounds[0]:
        for figure in ("wall_ms", "cpu_ms", "p50_ms", "p99_ms"):
            value = median(getattr(costs[name], figure) for costs in rounds)
            if value:
                found[name][figure] = round(value, 2)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.batching", description=__doc__)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--window-s", type=float, default=5.0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "batching.json")
    options = parser.parse_args()
    model = open_reward_model(load_settings(options.config))
    encoded = [model.encode(ScoreInput(normalize(text))) for text in mixed_texts(256)]
    sequences = [window for text in encoded for window in text.sequences]
    rounds = [
        asyncio.run(one_round(model, sequences, times=max(3, int(3 * options.window_s)), s=options.window_s))
        for _ in range(options.rounds)
    ]
    document: dict[str, Any] = {"machine": machine(), "versions": versions(), "milliseconds": figures(rounds)}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document["milliseconds"], indent=1))


if __name__ == "__main__":
    main()
