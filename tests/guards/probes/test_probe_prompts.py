from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from guards.errors import ConfigError
from guards.learning.corpus import load_corpus
from guards.learning.recipe import load_recipe
from guards.probes.prompts.prompts import Prompts

_RECIPE = Path(__file__).parents[3] / "recipes" / "reward.yaml"


@pytest.mark.parametrize(("name", "label", "least"), [("harmful", 1, 200), ("benign", 0, 500)])
def test_the_embedded_prompts_were_not_learned_from(name: str, label: int, least: int) -> None:
    corpus = load_corpus(load_recipe(_RECIPE)[0], _RECIPE.parent)
    learned = {row.prompt for row in corpus.prompts}
    prompts = Prompts(set=name).load(7)
    assert len(prompts) >= least
    assert {prompt.label for prompt in prompts} == {label}
    assert not learned & {prompt.text for prompt in prompts}


def test_a_sample_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    drawn = [Prompts(set="harmful", count=20).load(seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_users_file_stands_beside_the_suite(tmp_path: Path) -> None:
    rows = [{"prompt": "one", "label": 1, "source": "a"}, {"prompt": "two", "label": 0, "source": "b"}]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    prompts = Prompts.model_validate({"file": "own.jsonl", "sources": ["a"]}, context={"folder": tmp_path})
    assert [prompt.text for prompt in prompts.load(0)] == ["one"]


def test_texts_can_stand_in_the_suite_and_count_once() -> None:
    prompts = Prompts(texts=("one", "two", "one"), label=1).load(0)
    assert [(prompt.text, prompt.label) for prompt in prompts] == [("one", 1), ("two", 1)]
    assert len({prompt.item for prompt in prompts}) == 2


@pytest.mark.parametrize("fields", [{}, {"set": "harmful", "texts": ["x"]}])
def test_prompts_come_from_exactly_one_place(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="exactly one"):
        Prompts.model_validate(fields)


@pytest.mark.parametrize(
    ("prompts", "fault"),
    [
        (Prompts(set="nonsense"), "known: benign, hard_benign, harmful"),
        (Prompts(file=Path("/nonexistent/rows.jsonl")), "rows.jsonl"),
        (Prompts(set="harmful", sources=("nobody",)), "no prompt of set 'harmful' fits"),
    ],
)
def test_prompts_that_are_not_there_are_refused(prompts: Prompts, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        prompts.load(0)
