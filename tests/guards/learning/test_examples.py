"""What a fold may learn from: nothing of the sources that it holds out, and nothing to a prompt of theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from guards.errors import InvalidInput
from guards.learning.corpus import Corpus, load_corpus
from guards.learning.data import Labelled, Pair, Row
from guards.learning.examples import HeadCorpus, head_corpora, prompts_of, without
from guards.learning.fit import Examples
from guards.learning.recipe import Recipe, Training, load_recipe
from guards.learning.workshop import anchor_rows

ROOT = Path(__file__).parents[3]
ANCHOR = [Labelled(f"row {number}", response, 0, "anchor") for number in range(2) for response in (None, "so")]


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe(ROOT / "recipes" / "reward.yaml")[0]


def heads_of(recipe: Recipe, *rows: Row) -> list[HeadCorpus]:
    labelled = [row for row in rows if isinstance(row, Labelled)]
    corpus = Corpus(
        prompts=tuple(row for row in labelled if row.response is None),
        responses=tuple(row for row in labelled if row.response is not None),
        pairs=tuple(row for row in rows if isinstance(row, Pair)),
        files=(),
    )
    return head_corpora(corpus, recipe, ANCHOR)[0]


def left_by(heads: list[HeadCorpus], held_out: set[str]) -> dict[str, Examples]:
    prompts = prompts_of(heads, held_out)
    return {head.name: without(head, held_out, prompts, Training()) for head in heads}


OTHERS = (
    Labelled("What is rain?", None, 0, "clinc150"),
    Labelled("What is rain?", "Water.", 0, "model_answers"),
    Pair("What is rain?", "Water.", "I cannot say.", "model_answers_pairs", half="safe"),
)


def test_a_reply_to_a_held_out_prompt_is_hidden_from_every_head(recipe: Recipe) -> None:
    asked = "How do I pick a lock?"
    heads = heads_of(
        recipe,
        Labelled(asked, None, 1, "advbench"),
        Labelled(f" {asked.upper()} ", "Sure, take a pin.", 1, "model_answers"),
        Pair(asked, "I will not.", "Sure, take a pin.", "model_answers_pairs", half="unsafe"),
        *OTHERS,
    )
    left = left_by(heads, {"advbench"})
    assert [len(examples.texts) for examples in left.values()] == [1, 1, 0]
    assert [len(examples.chosen) for examples in left.values()] == [0, 1, 1]


def test_a_prompt_that_a_held_out_reply_answers_is_hidden_from_the_head_for_requests(recipe: Recipe) -> None:
    asked = "Say something about my neighbour."
    heads = heads_of(
        recipe, Labelled(asked, None, 0, "clinc150"), Labelled(asked, "He is a fool.", 1, "written_dialogue"), *OTHERS
    )
    left = left_by(heads, {"written_dialogue"})
    assert [len(examples.texts) for examples in left.values()] == [1, 1, 0]


def test_a_head_that_is_left_with_nothing_is_named(recipe: Recipe) -> None:
    heads = heads_of(recipe, *OTHERS)
    with pytest.raises(InvalidInput, match="request_risk"):
        left_by(heads, {"model_answers"})


def test_no_fold_of_the_committed_recipe_learns_from_a_prompt_it_holds_out_nor_loses_much_by_it(
    recipe: Recipe,
) -> None:
    corpus = load_corpus(recipe, ROOT / "recipes")
    heads, _ = head_corpora(corpus, recipe, anchor_rows(ROOT / "recipes" / recipe.anchor))
    for fold in recipe.folds:
        held_out = set(fold.sources)
        prompts = prompts_of(heads, held_out)
        for head in heads:
            examples = without(head, held_out, prompts, Training())
            by_source = without(head, held_out, (), Training())
            assert not {head.labelled[row].prompt.strip().lower() for row in _rows(head, examples)} & prompts
            assert len(examples.texts) >= 0.85 * len(by_source.texts)
            assert len(examples.chosen) >= 0.85 * len(by_source.chosen)


def _rows(head: HeadCorpus, examples: Examples) -> list[int]:
    by_text = {int(text): row for row, text in enumerate(head.labelled_texts)}
    return [by_text[int(text)] for text in examples.texts]
