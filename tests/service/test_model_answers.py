from __future__ import annotations

import json
from pathlib import Path

import pytest

from guards.errors import InvalidInput
from guards.learning.data import Labelled, read_rows
from service.model_answers import harmless_prompts, write_answers
from tests.fakes import FakeBackend


def write(path: Path, *rows: dict[str, object]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def test_only_short_harmless_prompts_are_asked_and_the_seed_draws_them(tmp_path: Path) -> None:
    rows = [{"prompt": f"question {number}", "label": number % 2} for number in range(40)]
    path = write(tmp_path / "rows.jsonl", *rows, {"prompt": "long " * 100, "label": 0})
    asked = harmless_prompts([path], 15, seed=1)
    assert len(set(asked)) == 15
    assert all(int(prompt.split()[1]) % 2 == 0 for prompt in asked)
    assert asked == harmless_prompts([path], 15, seed=1) != harmless_prompts([path], 15, seed=2)


def test_a_file_without_harmless_prompts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="label 0"):
        harmless_prompts([write(tmp_path / "rows.jsonl", {"prompt": "hi", "label": 1})], 5, seed=1)


async def test_answers_become_rows_and_those_too_short_to_teach_are_left_out(tmp_path: Path) -> None:
    words = "a long enough answer to learn something from it"
    backend = FakeBackend(texts=(words, "No."))
    told: list[tuple[int, int]] = []
    out = tmp_path / "answers.jsonl.gz"
    kept = await write_answers(
        backend, ["ask 1", "ask 2"], 32, 7, out, lambda what, done, total: told.append((done, total))
    )
    assert kept == 1
    assert told == [(1, 2), (2, 2)]
    assert [(row.prompt, row.source) for row in read_rows(out) if isinstance(row, Labelled)] == [
        ("ask 1", "model_answers")
    ]
