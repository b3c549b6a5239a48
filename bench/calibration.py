"""Does the calibration's promise hold on real scores? `python -m bench.calibration [--out FILE]`; prints JSON.

Harmless prompts of data/prompt_risk_train.jsonl.gz, each text once, are scored with the configured reward model. 200
random splits: calibrate on one part, count blocks in the other. Such splits also give windows without drift, whose
alarms are counted. Last, traffic that is not exchangeable: calibrate on one source, judge the others.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest, nhypergeom

from bench.machine import machine, versions
from guards.drift import TextFeatures, Window, compare, reference_of
from guards.learning.calibrate import ScoredRow, score_rows
from guards.learning.conformal import conformal_threshold, most_allowed
from guards.learning.data import Labelled, read_rows
from service.config import load_settings
from service.reward_models import open_reward_model

PROMPTS = Path(__file__).parent.parent / "data" / "prompt_risk_train.jsonl.gz"
HEAD = "request_risk"
CALIBRATION_TEXTS, ALPHA, DELTA, SPLITS = 1000, 0.01, 0.05, 200
WINDOW, WINDOWS_PER_SPLIT, LEVEL = 200, 5, 0.05
SEED = 0
ONE_SOURCE = "clinc150"


def measure(rows: Sequence[ScoredRow]) -> dict[str, Any]:
    texts = [TextFeatures(row.score.risk, row.tokens, row.script) for row in rows]
    return {
        "texts": len(texts),
        "distinct_risks": len({text.risk for text in texts}),
        "false_blocks": _false_blocks(texts),
        "false_alarms": _false_alarms(texts),
        "other_traffic": _other_traffic(rows),
    }


def _false_blocks(texts: Sequence[TextFeatures]) -> dict[str, Any]:
    """`expected_fraction` is exact for exchangeable texts without ties: a negative hypergeometric tail."""
    risks = np.array([text.risk for text in texts])
    generator = np.random.default_rng(SEED)
    rates, thresholds = [], []
    for _ in range(SPLITS):
        generator.shuffle(risks)
        found = conformal_threshold(risks[:CALIBRATION_TEXTS].tolist(), ALPHA, DELTA)
        thresholds.append(found.threshold)
        rates.append(float(np.mean(risks[CALIBRATION_TEXTS:] >= found.threshold)))
    rest = len(risks) - CALIBRATION_TEXTS
    allowed = most_allowed(CALIBRATION_TEXTS, ALPHA, DELTA)
    expected = nhypergeom.sf(math.floor(ALPHA * rest), len(risks), rest, allowed + 1)
    return {
        "calibration_texts": CALIBRATION_TEXTS,
        "other_texts": rest,
        "alpha": ALPHA,
        "delta": DELTA,
        **_fraction(sum(rate > ALPHA for rate in rates), SPLITS),
        "expected_fraction": round(float(expected), 4),
        "mean_rate": round(float(np.mean(rates)), 5),
        "worst_rate": round(max(rates), 5),
        "median_threshold": round(float(np.median(thresholds)), 4),
    }


def _false_alarms(texts: Sequence[TextFeatures]) -> dict[str, Any]:
    generator = np.random.default_rng(SEED)
    alarms = 0
    for split in range(SPLITS):
        order = generator.permutation(len(texts))
        reference = reference_of([texts[row] for row in order[:CALIBRATION_TEXTS]], seed=split)
        for place in range(WINDOWS_PER_SPLIT):
            first = CALIBRATION_TEXTS + place * WINDOW
            window = Window(reference)
            for row in order[first : first + WINDOW]:
                window.add(texts[row])
            alarms += any(test.rejected for test in compare(reference, window, LEVEL, generator))
    counted = {"level": LEVEL, "window": WINDOW, **_fraction(alarms, SPLITS * WINDOWS_PER_SPLIT)}
    return counted | {"note": "windows of one split share their reference, so the interval is a little too narrow"}


def _other_traffic(rows: Sequence[ScoredRow]) -> dict[str, Any]:
    generator = np.random.default_rng(SEED)
    made_for = [TextFeatures(row.score.risk, row.tokens, row.script) for row in rows if row.source == ONE_SOURCE]
    found = conformal_threshold([text.risk for text in made_for], ALPHA, DELTA)
    reference = reference_of(made_for, SEED)
    sources: dict[str, Any] = {}
    for source in sorted({row.source for row in rows} - {ONE_SOURCE}):
        others = [TextFeatures(row.score.risk, row.tokens, row.script) for row in rows if row.source == source]
        if len(others) < WINDOW:
            continue
        window = Window(reference)
        for place in generator.permutation(len(others))[:WINDOW]:
            window.add(others[place])
        tests = compare(reference, window, 0.001, generator)
        sources[source] = {
            "texts": len(others),
            "blocked": round(sum(text.risk >= found.threshold for text in others) / len(others), 4),
            "drift": [test.feature for test in tests if test.rejected],
        }
    return {"calibrated_on": ONE_SOURCE, "texts": len(made_for), "threshold": round(found.threshold, 4), "on": sources}


def _fraction(count: int, of: int) -> dict[str, Any]:
    """With its exact 95% binomial interval (Clopper and Pearson 1934)."""
    interval = binomtest(count, of).proportion_ci(0.95, method="exact")
    return {
        "count": count,
        "of": of,
        "fraction": round(count / of, 4),
        "interval": [round(float(interval.low), 4), round(float(interval.high), 4)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    model = open_reward_model(load_settings(options.config))
    labelled = [row for row in read_rows(PROMPTS) if isinstance(row, Labelled) and row.label == 0]
    distinct = list({row.prompt: row for row in labelled}.values())
    result = {
        "what": "calibration: false blocks over random splits, false drift alarms, and traffic of another kind",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions(),
        "reward_model": model.identity.digest,
        "head": HEAD,
        "seed": SEED,
        **measure(score_rows(model, HEAD, distinct, PROMPTS)),
    }
    text = json.dumps(result, indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
