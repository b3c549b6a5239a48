"""Do the probes' statistics keep their promises? `python -m bench.probe_statistics [--out FILE]`; prints JSON.

Simulated trials whose true ratio is known, so no model is needed. Wilson's interval at fixed numbers of trials; the
evidence and the confidence sequence when someone looks after every trial, beside the same looks at Wilson's interval;
how soon the evidence sees a rise; McNemar's test between two runs that differ by chance alone, and over many settings.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, binomtest

from bench.machine import machine, versions
from guards.probes.statistics.anytime import confidence_sequence, log_evidence
from guards.probes.statistics.paired import benjamini_hochberg, mcnemar
from guards.probes.statistics.ratio import trials_for_none, wilson

SEED = 0
RATIOS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.98)
TRIALS = (20, 50, 100, 200, 500, 1000)
REPEATS = 20_000  # of every cell, and runs that are looked at
HORIZON = 2000  # trials of such a run; the promise is for runs without end
TOLERATED = 0.05
ITEMS, CHANGED, SETTINGS, PAIRED_RUNS = 200, 0.1, 48, 2000

Counts = NDArray[np.int32]


def measure() -> dict[str, Any]:
    generator = np.random.default_rng(SEED)
    return {
        "wilson_coverage": _coverage(generator),
        "looking_after_every_trial": _looking(generator),
        "paired": _paired(generator),
        "trials_without_success_to_claim_less": {str(limit): trials_for_none(limit) for limit in (0.05, 0.02, 0.01)},
    }


def _coverage(generator: np.random.Generator) -> dict[str, Any]:
    """Also exactly, from the binomial distribution: what simulation is a sample of."""
    cells = []
    for n in TRIALS:
        intervals = [wilson(successes, n) for successes in range(n + 1)]
        for ratio in RATIOS:
            holds = np.array([one.low <= ratio <= one.high for one in intervals])
            found = float(holds[generator.binomial(n, ratio, REPEATS)].mean())
            exact = float(binom.pmf(np.arange(n + 1), n, ratio) @ holds)
            cells.append({"ratio": ratio, "trials": n, "simulated": round(found, 4), "exact": round(exact, 4)})
    simulated = [cell["simulated"] for cell in cells]
    return {
        "nominal": 0.95,
        "repeats_of_a_cell": REPEATS,
        "mean_simulated": round(float(np.mean(simulated)), 4),
        "mean_exact": round(float(np.mean([cell["exact"] for cell in cells])), 4),
        "least": min(cells, key=lambda cell: cell["simulated"]),
        "most": max(cells, key=lambda cell: cell["simulated"]),
        "cells_from_0.93_to_0.97": _fraction(sum(0.93 <= value <= 0.97 for value in simulated), len(cells)),
        "mean_by_trials": {
            str(n): round(float(np.mean([cell["simulated"] for cell in cells if cell["trials"] == n])), 4)
            for n in TRIALS
        },
        "cells": cells,
    }


def _looking(generator: np.random.Generator) -> dict[str, Any]:
    """An alarm is any look at which the hypothesis is given up. Runs end at HORIZON."""
    result: dict[str, Any] = {"runs": REPEATS, "trials_of_a_run": HORIZON, "tolerated": TOLERATED}
    at_limit = _runs(generator, TOLERATED)
    for nominal in (0.05, 0.01):
        needed = _least(lambda s, n, a=nominal: log_evidence(s, n, TOLERATED) >= -math.log(a))  # type: ignore[misc]
        peeked = _least(lambda s, n, a=nominal: wilson(s, n, 1 - a).low > TOLERATED)  # type: ignore[misc]
        result[f"at_{nominal:g}"] = {
            "false_alarms_of_the_evidence": _alarms(at_limit, needed),
            "false_alarms_below_the_limit": {
                str(ratio): _alarms(_runs(generator, ratio), needed) for ratio in (0.02, 0.04)
            },
            "false_alarms_of_looking_at_wilson": _alarms(at_limit, peeked),
            "median_trials_to_see": {
                str(ratio): _median_until(_runs(generator, ratio), needed) for ratio in (0.1, 0.15, 0.3)
            },
        }
    result["confidence_sequence_misses"] = {
        "nominal": 0.05,
        **{str(ratio): _misses(generator, ratio) for ratio in (0.01, 0.05, 0.2, 0.5)},
    }
    return result


def _runs(generator: np.random.Generator, ratio: float) -> Counts:
    """Successes after every trial [runs, trials]."""
    return np.cumsum(generator.random((REPEATS, HORIZON), dtype=np.float32) < ratio, axis=1, dtype=np.int32)


def _least(reached: Callable[[int, int], bool]) -> Counts:
    """After every trial the fewest successes at which `reached`; more of them reach it too, more trials need more."""
    needed, successes = [], 0
    for n in range(1, HORIZON + 1):
        while successes <= n and not reached(successes, n):
            successes += 1
        needed.append(successes)
    return np.array(needed, dtype=np.int32)


def _alarms(runs: Counts, needed: Counts) -> dict[str, Any]:
    return _fraction(int((runs >= needed).any(axis=1).sum()), len(runs))


def _median_until(runs: Counts, needed: Counts) -> dict[str, Any]:
    reached = runs >= needed
    seen = reached.any(axis=1)
    first = np.where(seen, reached.argmax(axis=1) + 1, HORIZON + 1)
    return {"trials": float(np.median(first)), "seen_at_all": round(float(seen.mean()), 4)}


def _misses(generator: np.random.Generator, ratio: float) -> dict[str, Any]:
    """How often the truth is outside at any look."""
    over = _least(lambda s, n: confidence_sequence(s, n).low > ratio)
    under = _least(lambda s, n: confidence_sequence(s, n).high >= ratio)
    runs = _runs(generator, ratio)
    return _fraction(int(((runs >= over) | (runs < under)).any(axis=1).sum()), REPEATS)


def _paired(generator: np.random.Generator) -> dict[str, Any]:
    """Two runs over the same items: so many changed, each to either side with the same chance."""
    changed = generator.binomial(ITEMS, CHANGED, (PAIRED_RUNS, SETTINGS))
    rose = generator.binomial(changed, 0.5)
    fell = changed - rose
    p_values = [
        [mcnemar(int(up), int(down)) for up, down in zip(ups, downs, strict=True)]
        for ups, downs in zip(rose, fell, strict=True)
    ]
    single = sum(p < 0.05 for row in p_values for p in row)
    return {
        "items": ITEMS,
        "settings": SETTINGS,
        "mcnemar_false_alarms": _fraction(single, PAIRED_RUNS * SETTINGS),
        "runs_with_any_unadjusted": _fraction(_with_any(p_values), PAIRED_RUNS),
        "runs_with_any_adjusted": _fraction(_with_any([benjamini_hochberg(row) for row in p_values]), PAIRED_RUNS),
    }


def _with_any(p_values: Sequence[Sequence[float]]) -> int:
    return sum(min(row) < 0.05 for row in p_values)


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
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    result = {
        "what": "the statistics of robustness probes on simulated trials",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions(),
        "seed": SEED,
        **measure(),
    }
    text = json.dumps(result, indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
