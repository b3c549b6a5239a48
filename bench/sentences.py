"""What reading sentences alone costs honest texts: `python -m bench.sentences FILE... --out FILE`.

Every row's prompt (of preference pairs also the chosen answer, as if somebody pasted it) is judged as a request by the
served heads, by its windows alone and with its sentences: which share reaches the risk, with Wilson's 95% interval,
and how many times the tokens are scored. Rows are of the shapes of guards/learning/data.py, and taken for harmless.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.machine import machine, versions
from bench.reports import give
from guards.learning.data import Pair, Row, read_rows
from guards.learning.metrics import wilson
from guards.readings.find import request_input
from guards.rewards.encoding import TextEncoder
from guards.rewards.reward_model import RewardModel
from service.config import load_settings
from service.models import ModelCache
from service.reward_models import open_reward_model

_HEAD = "request_risk"
_BATCH_TOKENS = 1024


def texts_of(rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    """What kind of text, and the text."""
    for row in rows:
        yield "prompt", row.prompt
        if isinstance(row, Pair):
            yield "answer", row.chosen


def without_sentences(model: RewardModel, tokenizer: Path) -> RewardModel:
    window = model.manifest.window.model_copy(update={"sentences": None})
    return RewardModel(model.manifest, model.identity.digest, TextEncoder.from_file(tokenizer, window), model.runtime)


def measured(models: Mapping[str, RewardModel], texts: Sequence[str], risk: float) -> dict[str, Any]:
    inputs = [request_input(text) for text in texts]
    tokens = {}
    found: dict[str, Any] = {"n": len(texts)}
    for name, model in models.items():
        tokens[name] = sum(len(window) for item in inputs for window in model.encode(item).sequences)
        scores = [text.heads[_HEAD] for text in model.score(inputs, _BATCH_TOKENS)]
        share = wilson(sum(score.risk >= risk for score in scores), len(scores))
        found[name] = {"share": round(share.value, 4), "low": round(share.low, 4), "high": round(share.high, 4)}
    return found | {"times_the_tokens": round(tokens["sentences"] / tokens["windows"], 2)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.sentences", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--count", type=int, default=150, help="texts of each kind, drawn with the seed")
    parser.add_argument("--risk", type=float, default=0.8, help="from which a text counts as stopped")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, help="a file for the JSON instead of standard output")
    options = parser.parse_args()
    rows = {file: read_rows(file) for file in options.files}
    settings = load_settings(None)
    served = open_reward_model(settings)
    tokenizer = ModelCache(settings.model_cache).path(settings.scoring.encoder) / "tokenizer.json"
    models = {"windows": without_sentences(served, tokenizer), "sentences": served}
    results: dict[str, Any] = {}
    for file, of_file in rows.items():
        by_kind: dict[str, set[str]] = {}
        for kind, text in texts_of(of_file):
            by_kind.setdefault(kind, set()).add(text)
        for kind, texts in by_kind.items():
            drawn = random.Random(options.seed).sample(sorted(texts), min(options.count, len(texts)))
            results[f"{file.name.split('.')[0]}, {kind}"] = measured(models, drawn, options.risk)
    report = {
        "model": served.identity.digest,
        "risk": options.risk,
        "seed": options.seed,
        "texts": results,
        "machine": machine(),
        "versions": versions(),
    }
    give(report, options.out)


if __name__ == "__main__":
    main()
