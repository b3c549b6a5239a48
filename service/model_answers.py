"""Answers of the wrapped model to harmless prompts, as training rows: the answers that a refusal should lose to."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from guards.errors import InvalidInput
from guards.learning.data import Labelled, read_rows
from guards.types import Message, Role, TextPart, part_text
from service.backends.base import Backend, FinishReason, SamplingParameters

_AT_ONCE = 16
_TIME_LIMIT_S = 600.0  # of one answer, the wait for its place included
_FEWEST_WORDS = 8  # shorter answers teach nothing

Progress = Callable[[str, int, int], None]


def harmless_prompts(paths: Sequence[Path], limit: int, seed: int) -> tuple[str, ...]:
    """A sample of the short prompts labelled 0. Raises InvalidInput when there are none."""
    rows = [row for path in paths for row in read_rows(path)]
    found = {r.prompt: None for r in rows if isinstance(r, Labelled) and r.response is None and r.label == 0}
    short = [prompt for prompt in found if len(prompt) < 300]
    if not short:
        raise InvalidInput("none of the files has prompts with label 0")
    chooser = random.Random(seed)  # noqa: S311 - sampling, not secrecy
    return tuple(chooser.sample(short, min(limit, len(short))))


async def write_answers(
    backend: Backend, prompts: Sequence[str], max_tokens: int, seed: int, out: Path, progress: Progress
) -> int:
    """Asks the model for one answer a prompt and writes gzip JSON Lines; gives the number of rows kept."""
    places = asyncio.Semaphore(_AT_ONCE)
    done = 0

    async def one(number: int, prompt: str) -> dict[str, object] | None:
        nonlocal done
        sampling = SamplingParameters(max_tokens=max_tokens, temperature=0.3, top_p=0.9, seed=seed + number)
        messages = [Message(Role.USER, (TextPart(prompt),))]
        async with places:
            (answer,) = await backend.generate(messages, sampling, 1, time.monotonic() + _TIME_LIMIT_S)
        done += 1
        progress("asking the model", done, len(prompts))
        text = "\n".join(part_text(part) for part in answer.parts).strip()
        if len(text.split()) < _FEWEST_WORDS or answer.finish_reason is FinishReason.CONTENT_FILTER:
            return None
        turns = [{"role": "user", "content": prompt}]
        return {"messages": turns, "response": text, "label": 0, "source": "model_answers"}

    await backend.start()
    try:
        rows = [row for row in await asyncio.gather(*map(one, range(len(prompts)), prompts)) if row]
    finally:
        await backend.stop()
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    await asyncio.to_thread(out.write_bytes, gzip.compress(lines.encode(), mtime=0))
    return len(rows)
