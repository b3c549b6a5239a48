"""Our word scramble and textattack's DeepWordBug on one classifier and the same texts, side by side.

    python -m bench.textattack_comparison attack SST2.jsonl.gz CHECKPOINT CHOSEN.json
    OTHER_VENV/bin/python bench/textattack_recipe.py CHECKPOINT CHOSEN.json THEIRS.json
    python -m bench.textattack_comparison compare CHOSEN.json THEIRS.json

The first chooses texts of the dev split that the classifier gets right and attacks them, with what the recipe allows
(any letter, any share of the words, no bound on queries) and with our defaults. The last prints success rates with
Wilson's 95% intervals and mean queries as JSON. CHECKPOINT is what `bench.sst2_classifier` wrote.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from bench.sst2_classifier import read_split
from guards.learning.metrics import wilson
from guards.probes.words.margins import label_margin
from guards.probes.words.search import Attempt, Limits, Technique, attack
from guards.probes.words.text import STOP_WORDS
from guards.probes.words.word_scramble import WordScramble
from guards.probes.words.word_substitution import WordSubstitution
from guards.rewards.checkpoints.label_probabilities import LabelProbabilities
from guards.rewards.checkpoints.spec import CheckpointSpec
from service.config import load_settings
from service.models import ModelCache

_SEED = 7
_UNBOUNDED = Limits(max_queries=100_000, max_share=1.0)


def chosen_texts(classifier: LabelProbabilities, data: Path, count: int) -> list[dict[str, Any]]:
    """Drawn with a fixed seed from the texts that the classifier gets right."""
    rows = random.Random(_SEED).sample(read_split(data, "dev"), 2 * count)
    best = classifier.probabilities([text for text, _ in rows]).argmax(axis=1)
    right = [{"text": text, "label": label} for (text, label), found in zip(rows, best, strict=True) if found == label]
    return right[:count]


def attempts(
    classifier: LabelProbabilities, texts: Sequence[dict[str, Any]], technique: Technique, limits: Limits
) -> dict[str, Any]:
    started = time.process_time()
    found = []
    for number, row in enumerate(texts):
        margin = label_margin(classifier, classifier.labels[row["label"]])
        found.append(attack(row["text"], margin, technique, limits, random.Random(f"{_SEED}:{number}")))
    return {"seconds": round(time.process_time() - started, 1), "outcomes": [_outcome(one) for one in found]}


def _outcome(attempt: Attempt) -> dict[str, Any]:
    return {
        "success": attempt.fooled,
        "queries": attempt.queries,
        "changed": attempt.changed,
        "attacked": attempt.text,
    }


def summary(outcomes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    rate = wilson(sum(one["success"] for one in outcomes), len(outcomes))
    return {
        "texts": len(outcomes),
        "success": round(rate.value, 3),
        "interval": [round(rate.low, 3), round(rate.high, 3)],
        "mean_queries": round(sum(one["queries"] for one in outcomes) / len(outcomes), 1),
    }


def attack_all(data: Path, folder: Path, out: Path, count: int) -> None:
    torch.set_num_threads(1)
    spec = CheckpointSpec(
        kind="classifier", input="text", judges=frozenset({"request"}), risk_labels=("negative",), window=512
    )
    classifier = LabelProbabilities(spec, folder)
    texts = chosen_texts(classifier, data, count)
    from guards.probes.sentence_vectors import SentenceVectors

    settings = load_settings(None)
    encoder = _Encoder(SentenceVectors(ModelCache(settings.model_cache).path(settings.scoring.encoder)))
    ours = {
        "word_scramble, as the recipe": attempts(classifier, texts, WordScramble(keep_ends=False), _UNBOUNDED),
        "word_scramble": attempts(classifier, texts, WordScramble(), Limits()),
        "word_substitution": attempts(classifier, texts, WordSubstitution(encoder), Limits()),
    }
    document = {"stop_words": sorted(STOP_WORDS), "texts": texts, "ours": ours}
    out.write_text(json.dumps(document), encoding="utf-8")
    print(json.dumps({name: summary(one["outcomes"]) for name, one in ours.items()}, indent=2))


class _Encoder:
    def __init__(self, sentences: Any) -> None:
        self.vectors = sentences.vectors
        self._words = sentences.words()

    def word_vectors(self) -> Any:
        return self._words


def compare(chosen: Path, theirs: Path) -> None:
    mine, other = json.loads(chosen.read_text()), json.loads(theirs.read_text())
    rows = {f"ours: {name}": one["outcomes"] for name, one in mine["ours"].items()}
    rows[f"textattack: {other['recipe']}"] = other["outcomes"]
    print(json.dumps({name: summary(outcomes) for name, outcomes in rows.items()}, indent=2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(dest="step", required=True)
    first = steps.add_parser("attack")
    first.add_argument("data", type=Path)
    first.add_argument("checkpoint", type=Path)
    first.add_argument("chosen", type=Path)
    first.add_argument("--count", type=int, default=80)
    last = steps.add_parser("compare")
    last.add_argument("chosen", type=Path)
    last.add_argument("theirs", type=Path)
    given = parser.parse_args()
    if given.step == "attack":
        attack_all(given.data, given.checkpoint, given.chosen, given.count)
    else:
        compare(given.chosen, given.theirs)


if __name__ == "__main__":
    main()
