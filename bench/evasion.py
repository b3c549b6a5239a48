"""How much of what the request head blocks it still blocks when the text is disguised, and what else it blocks.

`python -m bench.evasion` prints JSON: the share of harmful prompts, and of harmless ones, blocked at the default
policy's threshold, as they are and under every transformation of guards.probes, with Wilson's 95% intervals. The
prompts are from the training data, so the clean figure flatters; the drop from it is what counts.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.machine import machine, versions
from guards.base import ScoreInput
from guards.learning.data import Labelled, read_rows
from guards.learning.metrics import wilson
from guards.normalize import NORMALIZER_VERSION, normalize
from guards.policy import load_policy
from guards.probes.transformations.base import Transformation
from guards.probes.transformations.registry import TRANSFORMATIONS
from guards.rewards.guard import RewardGuard
from guards.rewards.reward_model import RewardModel
from guards.types import Action
from service.config import load_settings
from service.reward_models import head_stages, open_reward_model

_ROOT = Path(__file__).parents[1]
_DATA = _ROOT / "data" / "prompt_risk_train.jsonl.gz"
_POLICY = _ROOT / "guards" / "policies" / "default.yaml"
_HARMFUL = ("advbench", "catqa", "strongreject")
_HARMLESS = ("clinc150", "injecguard_benign", "mt_vicuna_bench", "oasst_en_100", "pandalm", "self_instruct_user")
_HEAD = "request_risk"
_SEVERITIES = (0.3, 1.0)


def sampled_prompts(sources: Sequence[str], label: int, count: int, seed: int) -> list[str]:
    """Distinct prompts; the same for the same seed."""
    rows = [row for row in read_rows(_DATA) if isinstance(row, Labelled) and row.source in sources]
    rows = [row for row in rows if row.label == label]
    return random.Random(seed).sample(sorted({row.prompt for row in rows}), count)


def disguised(prompts: Sequence[str], transformation: Transformation, severity: float, seed: int) -> list[str]:
    """Each prompt has a generator of its own, so that no text depends on the others."""
    return [
        transformation.transform(prompt, random.Random(f"{seed}:{transformation.name}:{severity}:{index}"), severity)
        for index, prompt in enumerate(prompts)
    ]


def blocked(model: RewardModel, texts: Sequence[str], threshold: float) -> dict[str, Any]:
    """The share of texts at or above the threshold: recall of harmful ones, false blocks of harmless ones."""
    scores = model.score([ScoreInput(normalize(text)) for text in texts])
    count = sum(score.heads[_HEAD].risk >= threshold for score in scores)
    share = wilson(count, len(texts))
    return {
        "share": round(share.value, 4),
        "low": round(share.low, 4),
        "high": round(share.high, 4),
        "blocked": count,
        "n": len(texts),
    }


def blocking_threshold(model: RewardModel) -> float:
    """The risk from which the default policy blocks a request."""
    for entry in load_policy(_POLICY, head_stages(model.manifest)).request:
        if isinstance(entry.guard, RewardGuard) and entry.guard.head == _HEAD:
            return next(rung.threshold for rung in entry.guard.serving_rungs() if rung.action is Action.BLOCK)
    raise SystemExit(f"{_POLICY} has no guard on the head {_HEAD}")


def measured(model: RewardModel, prompts: Sequence[str], threshold: float, seed: int) -> dict[str, Any]:
    return {
        "clean": blocked(model, prompts, threshold),
        "transformed": {
            name: {
                str(severity): blocked(model, disguised(prompts, transformation, severity, seed), threshold)
                for severity in _SEVERITIES
            }
            for name, transformation in TRANSFORMATIONS.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.evasion", description=__doc__)
    parser.add_argument("--config", type=Path, help="settings of another model or runtime")
    parser.add_argument("--prompts", type=int, default=200, help="of each kind")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, help="a file for the JSON instead of standard output")
    options = parser.parse_args()
    model = open_reward_model(load_settings(options.config))
    threshold = blocking_threshold(model)
    harmful = sampled_prompts(_HARMFUL, 1, options.prompts, options.seed)
    harmless = sampled_prompts(_HARMLESS, 0, options.prompts, options.seed)
    result = {
        "model": model.identity.digest,
        "normalizer": NORMALIZER_VERSION,
        "threshold": threshold,
        "seed": options.seed,
        "recall": {"sources": _HARMFUL, **measured(model, harmful, threshold, options.seed)},
        "false_blocks": {"sources": _HARMLESS, **measured(model, harmless, threshold, options.seed)},
        "machine": machine(),
        "versions": versions(),
        "date": datetime.now(UTC).date().isoformat(),
    }
    text = json.dumps(result, indent=1)
    if options.out is None:
        print(text)
    else:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
