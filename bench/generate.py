"""Tokens per second of the in-process backend with several callers at once, against one plain `generate` at a time.

    python -m bench.generate --out bench/results/generate.json

Both sides share dtype, prompts, threads and tokens for each response. Windows alternate in one process, so that
whatever else the machine does meets both sides alike; the ratio is the median of the ratios of neighbouring windows.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from bench.machine import machine, versions
from guards.types import Message, Role, TextPart
from service.backends.base import SamplingParameters
from service.backends.transformers import TransformersBackend
from service.models import ModelCache

MODEL = "smollm2-135m-instruct"
LIMIT_S = 600.0


@dataclass(frozen=True, slots=True)
class Window:
    """`load` is the machine's load average of the last minute at the end of the window."""

    side: str
    tokens: int
    seconds: float
    load: float

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds


@dataclass(frozen=True, slots=True)
class Plan:
    callers: int
    max_tokens: int
    temperature: float
    threads: int
    windows: int
    plain_calls: int


def question(index: int) -> tuple[Message, ...]:
    return (Message(Role.USER, (TextPart(f"Write a long story about the number {index}."),)),)


def sampling(plan: Plan, index: int) -> SamplingParameters:
    return SamplingParameters(max_tokens=plan.max_tokens, temperature=plan.temperature, seed=index)


async def batched_window(backend: TransformersBackend, plan: Plan) -> Window:
    begin = time.monotonic()
    answers = await asyncio.gather(
        *(backend.generate(question(i), sampling(plan, i), 1, begin + LIMIT_S) for i in range(plan.callers))
    )
    seconds = time.monotonic() - begin
    tokens = sum(generation.completion_tokens for (generation,) in answers)
    return Window("batched", tokens, seconds, os.getloadavg()[0])


class PlainModel:
    """What one would write first: load, apply the template, call `generate`."""

    def __init__(self, folder: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self._model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)

    def window(self, plan: Plan) -> Window:
        tokens, begin = 0, time.monotonic()
        for index in range(plan.plain_calls):
            chat = [{"role": "user", "content": question(index)[0].text}]
            inputs = self._tokenizer.apply_chat_template(
                chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
            )
            drawn: dict[str, Any] = {"do_sample": False}
            if plan.temperature > 0:
                drawn = {"do_sample": True, "temperature": plan.temperature, "top_k": 0, "top_p": 1.0}
            output = self._model.generate(**inputs, max_new_tokens=plan.max_tokens, **drawn)
            tokens += output.shape[1] - inputs["input_ids"].shape[1]
        return Window("plain", tokens, time.monotonic() - begin, os.getloadavg()[0])


async def measure(plan: Plan, folder: Path) -> dict[str, Any]:
    backend = TransformersBackend(folder, MODEL, max_concurrent=plan.callers, threads=plan.threads)
    begin = time.monotonic()
    await backend.start()
    start_s = time.monotonic() - begin
    try:
        plain = PlainModel(folder)
        await asyncio.to_thread(plain.window, plan)  # warm, as the backend is
        windows: list[Window] = []
        for _ in range(plan.windows):
            windows.append(await batched_window(backend, plan))
            windows.append(await asyncio.to_thread(plain.window, plan))
    finally:
        await backend.stop()
    return report(plan, windows, start_s)


def report(plan: Plan, windows: list[Window], start_s: float) -> dict[str, Any]:
    batched = [w.tokens_per_second for w in windows if w.side == "batched"]
    plain = [w.tokens_per_second for w in windows if w.side == "plain"]
    ratios = [fast / slow for fast, slow in zip(batched, plain, strict=True)]
    return {
        "what": "tokens per second: concurrent calls through TransformersBackend, plain generate one at a time",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions(),
        "model": MODEL,
        "dtype": "bfloat16",
        "openmp_wait_policy": os.environ.get("OMP_WAIT_POLICY", ""),
        "plan": asdict(plan),
        "start_s": round(start_s, 2),
        "batched_tokens_per_s": round(statistics.median(batched), 1),
        "plain_tokens_per_s": round(statistics.median(plain), 1),
        "ratio": round(statistics.median(ratios), 2),
        "ratio_range": [round(min(ratios), 2), round(max(ratios), 2)],
        "windows": [asdict(w) | {"tokens_per_s": round(w.tokens_per_second, 1)} for w in windows],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("bench/results/generate.json"))
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--windows", type=int, default=5)
    parser.add_argument("--plain-calls", type=int, default=2, help="calls in each plain window")
    parser.add_argument("--cache", type=Path, default=user_cache_path("wardgate") / "models")
    asked = parser.parse_args()
    plan = Plan(asked.callers, asked.max_tokens, asked.temperature, asked.threads, asked.windows, asked.plain_calls)
    result = asyncio.run(measure(plan, ModelCache(asked.cache).path(MODEL)))
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({key: value for key, value in result.items() if key != "windows"}, indent=1))


if __name__ == "__main__":
    main()
