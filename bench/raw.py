"""The bare model in its own process, without a server: the limit that the server is held against.

`python -m bench.raw CONFIG TEXTS` reads commands, one per line ("batched SECONDS" or "single SECONDS"), and answers
each with one line of JSON. "lone SECONDS" is "single" on the session that the server keeps for a lone text.
"""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from bench.processes import environment
from bench.texts import mixed_texts
from guards.base import ScoreInput
from guards.normalize import normalize
from guards.rewards.encoding import pad
from guards.rewards.reward_model import RewardModel
from guards.rewards.runtimes.base import Runtime, TokenBatch
from guards.rewards.scoring_model import batches_by_length
from service.config import load_settings
from service.reward_models import open_lone_runtime, open_reward_model

_BATCH_TOKENS = 512

Way = Literal["batched", "single", "lone"]


@dataclass(frozen=True, slots=True)
class RawResult:
    """`texts` scored in `seconds`; `text` and `latency_s` only when they were scored one by one."""

    seconds: float
    texts: float
    cpu_s: float
    text: list[int]
    latency_s: list[float]


@dataclass(frozen=True, slots=True)
class _Prepared:
    batch: TokenBatch
    texts: float  # a text of n windows counts 1/n for each


def prepare(model: RewardModel, texts: list[str]) -> list[_Prepared]:
    """All windows, sorted by length into batches, the batches in random order."""
    encoded = [model.encode(ScoreInput(normalize(text))) for text in texts]
    windows = [(window, 1 / len(text.sequences)) for text in encoded for window in text.sequences]
    prepared = [
        _Prepared(pad([windows[row][0] for row in rows]), sum(windows[row][1] for row in rows))
        for rows in batches_by_length([window for window, _ in windows], _BATCH_TOKENS)
    ]
    random.Random(0).shuffle(prepared)
    return prepared


def batched(model: RewardModel, prepared: list[_Prepared], threads: int, seconds: float) -> RawResult:
    """Every thread takes the next batch until the time is over."""
    turns = itertools.count()
    started, cpu = time.perf_counter(), time.process_time()
    done = [0.0] * threads

    def work(thread: int) -> None:
        while time.perf_counter() - started < seconds:
            item = prepared[next(turns) % len(prepared)]
            model.runtime.forward(item.batch)
            done[thread] += item.texts

    workers = [threading.Thread(target=work, args=(thread,)) for thread in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return RawResult(time.perf_counter() - started, sum(done), time.process_time() - cpu, [], [])


def single(model: RewardModel, runtime: Runtime, texts: list[str], seconds: float) -> RawResult:
    """Normalize, tokenize and score text after text on this thread, as a server would with one client."""
    started, cpu = time.perf_counter(), time.process_time()
    numbers: list[int] = []
    latencies: list[float] = []
    for turn in itertools.count():
        began = time.perf_counter()
        if began - started > seconds:
            break
        encoded = model.encode(ScoreInput(normalize(texts[turn % len(texts)])))
        for window in encoded.sequences:
            runtime.forward(pad([window]))
        numbers.append(turn % len(texts))
        latencies.append(time.perf_counter() - began)
    return RawResult(time.perf_counter() - started, len(numbers), time.process_time() - cpu, numbers, latencies)


class RawProcess:
    """Idle between its windows."""

    def __init__(self, config: Path, texts: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.raw", str(config), str(texts)],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def measure(self, way: Way, seconds: float) -> RawResult:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{way} {seconds}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the raw process ended with {self._process.wait()}")
        return RawResult(**json.loads(line))

    def close(self) -> None:
        self._process.communicate()


def main(config: str, texts: str) -> None:
    settings = load_settings(Path(config))
    model = open_reward_model(settings)
    lone = open_lone_runtime(settings) or model.runtime
    written = mixed_texts(int(texts))
    prepared = prepare(model, written)
    for command in sys.stdin:
        way, seconds = command.split()
        if way == "single":
            result = single(model, model.runtime, written, float(seconds))
        elif way == "lone":
            result = single(model, lone, written, float(seconds))
        else:
            result = batched(model, prepared, settings.scoring.workers, float(seconds))
        print(json.dumps(asdict(result)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
