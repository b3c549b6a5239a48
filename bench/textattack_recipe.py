"""textattack's own DeepWordBug on the texts that `bench.textattack_comparison` chose, for an outside check of ours.

    OTHER_VENV/bin/python bench/textattack_recipe.py CHECKPOINT CHOSEN.json THEIRS.json

Runs in an environment of its own that has textattack, torch and transformers; it imports nothing of ours, and nothing
of ours imports it. textattack 0.3.11 wants flair, which does not go with transformers 5, and stop words that nltk
downloads: it gets a stand-in for the one, which this recipe never calls, and our stop words for the other. What
attacks is its recipe, unchanged.
"""

from __future__ import annotations

import json
import random
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

_SEED = 7


def imported_textattack(stop_words: Sequence[str]) -> Any:
    """Both stand-ins must be there before it: it asks for stop words while it is imported."""
    _stand_in_for_flair()
    import nltk

    nltk.corpus.stopwords = types.SimpleNamespace(words=lambda language: stop_words)
    import textattack

    return textattack


def _stand_in_for_flair() -> None:
    flair: Any = types.ModuleType("flair")
    flair.data = types.ModuleType("flair.data")
    flair.models = types.ModuleType("flair.models")
    flair.data.Sentence = flair.data.Tokenizer = flair.models.SequenceTagger = object
    sys.modules |= {"flair": flair, "flair.data": flair.data, "flair.models": flair.models}


class Asked:
    """The checkpoint as textattack asks it."""

    def __init__(self, folder: Path) -> None:
        load: Any = AutoModelForSequenceClassification.from_pretrained
        self.model = load(str(folder), local_files_only=True).eval()
        make: Any = AutoTokenizer.from_pretrained
        self._tokenizer = make(str(folder), local_files_only=True)

    def __call__(self, texts: Sequence[str], **_: object) -> Any:
        batch = self._tokenizer(list(texts), padding=True, truncation=True, max_length=512, return_tensors="pt")
        with torch.inference_mode():
            return self.model(**batch).logits.softmax(-1)

    def get_grad(self, text: str) -> None:
        raise NotImplementedError("this recipe asks for no gradient")


def main(folder: Path, chosen: Path, out: Path) -> None:
    given = json.loads(chosen.read_text(encoding="utf-8"))
    textattack = imported_textattack(given["stop_words"])
    torch.set_num_threads(1)
    random.seed(_SEED)
    np.random.seed(_SEED)
    torch.manual_seed(_SEED)
    wrapper: Any = type("Wrapper", (Asked, textattack.models.wrappers.ModelWrapper), {})(folder)
    recipe = textattack.attack_recipes.DeepWordBugGao2018.build(wrapper)
    outcomes = []
    for row in given["texts"]:
        result = recipe.attack(row["text"], row["label"])
        outcomes.append(
            {
                "result": type(result).__name__,
                "success": type(result).__name__ == "SuccessfulAttackResult",
                "queries": result.num_queries,
                "attacked": result.perturbed_text(),
            }
        )
        print(len(outcomes), outcomes[-1]["result"], outcomes[-1]["queries"], flush=True)
    out.write_text(json.dumps({"recipe": "DeepWordBugGao2018", "outcomes": outcomes}), encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
