"""Prompts that the embedded heads have not learned from: rows of the data that the recipe's caps leave undrawn."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

from guards.learning.corpus import load_corpus
from guards.learning.data import Labelled, Row, read_rows
from guards.learning.recipe import load_recipe

_ROOT = Path(__file__).parents[1]
_RECIPE = _ROOT / "recipes" / "reward.yaml"
_DATA = _ROOT / "data" / "prompt_risk_train.jsonl.gz"

# share of each source; requests that ask for harm outright, and ordinary questions
HARMFUL: Mapping[str, float] = {"advbench": 0.4, "catqa": 0.4, "harmfulqa": 0.2}
HARMLESS: Mapping[str, float] = {"clinc150": 0.6, "finegrained_qa": 0.18, "gsm8k_test": 0.22}


def unseen_prompts(shares: Mapping[str, float], label: int, count: int, seed: int) -> list[str]:
    """About `count` distinct prompts, in random order; the same for the same seed.

    Near copies of a prompt may have been learned from: sources such as advbench say one thing in many ways.
    """
    rows = undrawn_rows(label)
    generator = random.Random(seed)
    drawn: list[str] = []
    for source, share in shares.items():
        left = sorted({row.prompt for row in rows if row.source == source})
        drawn += generator.sample(left, min(round(share * count), len(left)))
    generator.shuffle(drawn)
    return drawn


def undrawn_rows(label: int) -> list[Labelled]:
    """Rows of the prompts' file whose text no row of the recipe's corpus has, however it is cased."""
    recipe, _ = load_recipe(_RECIPE)
    corpus = load_corpus(recipe, _RECIPE.parent)
    every: tuple[Row, ...] = (*corpus.prompts, *corpus.responses, *corpus.pairs)
    learned = {row.prompt.strip().lower() for row in every}
    rows = [row for row in read_rows(_DATA) if isinstance(row, Labelled) and row.label == label]
    return [row for row in rows if row.prompt.strip().lower() not in learned]
