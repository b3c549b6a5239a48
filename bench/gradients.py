"""How far word vectors have to move, or how many words to change, before the request head's decision turns.

`python -m bench.gradients` runs the probes of guards/probes/gradient on the configured service and prints JSON:
accuracy over epsilon for every attack, with Wilson's 95% intervals, eps50 and the area under each curve; and what
HotFlip's texts do to the head and to the whole guard. `--kept FILE` keeps what is done, so that a run that was killed
goes on.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from bench.machine import machine, versions
from bench.reports import give
from guards.learning.metrics import wilson
from guards.normalize import NORMALIZER_VERSION
from guards.probes.base import Setting, Trial
from guards.probes.gradient.classifier import DifferentiableClassifier
from guards.probes.gradient.curves import area_under, eps50
from guards.probes.gradient.embedding_attack import EmbeddingAttack, EmbeddingAttackConfig, Norm
from guards.probes.gradient.word_flips import WordFlips, WordFlipsConfig
from guards.probes.harness import Plan, run
from guards.probes.prompts.prompts import Prompts
from guards.probes.records import UnitOutcome, from_json, to_json
from guards.probes.suite import Suite
from service.config import load_settings
from service.probing.targets import ProbedService

_BENIGN = ("clinc150",)  # short ones: the time goes with the length
_NEIGHBOURS_OF = 2000  # words whose nearest neighbour is looked for
_MIN_COSINE = 0.5


@dataclass(frozen=True)
class Size:
    """How many prompts of each kind: for the curves, and for HotFlip."""

    harmful: int
    benign: int
    flips: int
    norms: tuple[Norm, ...]


def suite(head: str, size: Size, seed: int) -> Suite:
    harmful, benign = _sets(size.harmful, size.benign)
    some, others = _sets(size.flips, size.flips)
    embedding = EmbeddingAttackConfig(name="embedding", target=head, norms=size.norms, harmful=harmful, benign=benign)
    words = WordFlipsConfig(name="words", target=head, harmful=some, benign=others)
    near = words.model_copy(update={"name": "near-words", "min_cosine": _MIN_COSINE})
    return Suite("bench", "", seed, "", (EmbeddingAttack(embedding), WordFlips(words), WordFlips(near)))


def _sets(harmful: int, benign: int) -> tuple[Prompts, Prompts]:
    return Prompts(set="harmful", count=harmful), Prompts(set="benign", sources=_BENIGN, count=benign)


def outcomes(plan: Plan, service: ProbedService, kept: Path | None) -> list[UnitOutcome]:
    """In a shuffled order, so that what a run has after a while is a fair sample."""
    done = [from_json(json.loads(line)) for line in kept.read_text().splitlines()] if kept and kept.exists() else []

    def keep(outcome: UnitOutcome) -> None:
        done.append(outcome)
        if kept:
            with kept.open("a") as file:
                file.write(json.dumps(to_json(outcome)) + "\n")

    run(plan, service.targets(), keep, done={one.key for one in done})
    wanted = {unit.key for unit in plan.units}
    if failed := [one.key for one in done if one.error]:
        raise SystemExit(f"{len(failed)} units failed, the first: {failed[0]}")
    return [one for one in done if one.key in wanted]


def by_setting(done: Iterable[UnitOutcome]) -> dict[Any, tuple[Setting, list[Trial]]]:
    rows: dict[Any, tuple[Setting, list[Trial]]] = {}
    for outcome in done:
        for measured in outcome.measured:
            rows.setdefault(measured.setting.key, (measured.setting, []))[1].extend(measured.trials)
    return rows


def share(hits: int, n: int) -> dict[str, Any]:
    if not n:
        return {"n": 0}
    measure = wilson(hits, n)
    return {"share": round(measure.value, 4), "low": round(measure.low, 4), "high": round(measure.high, 4), "n": n}


def curves(rows: Iterable[tuple[Setting, Sequence[Trial]]]) -> list[dict[str, Any]]:
    """Of all prompts together, and of the harmful and the harmless ones."""
    grouped: dict[tuple[str, ...], dict[float, list[Trial]]] = defaultdict(lambda: defaultdict(list))
    for setting, trials in rows:
        p = setting.parameters
        for prompts in ("all", "harmful" if setting.kind == "attack" else "benign"):
            key = (str(p["attack"]), str(p["norm"]), str(p["figure"]), prompts)
            grouped[key][float(p["epsilon"])].extend(trials)
    found = []
    for (attack, norm, figure, prompts), by_epsilon in sorted(grouped.items()):
        accuracy = {
            epsilon: share(sum(bool(trial.adversarial) for trial in trials), len(trials))
            for epsilon, trials in sorted(by_epsilon.items())
        }
        points = [(epsilon, float(one["share"])) for epsilon, one in accuracy.items()]
        half, area = eps50(points), area_under(points)
        found.append(
            {
                "attack": attack,
                "norm": norm,
                "figure": figure,
                "prompts": prompts,
                "clean": share(sum(bool(t.clean) for t in by_epsilon[0.0]), len(by_epsilon[0.0])),
                "accuracy": accuracy,
                "eps50": None if half is None else round(half, 4),
                "area": None if area is None else round(area, 4),
            }
        )
    return found


def flips(rows: Iterable[tuple[Setting, Sequence[Trial]]]) -> list[dict[str, Any]]:
    found = []
    for setting, trials in rows:
        counted = [trial for trial in trials if not trial.skipped]
        row: dict[str, Any] = {
            "judge": setting.target,
            "prompts": "harmful" if setting.kind == "attack" else "benign",
            **setting.parameters,
            "flipped": share(sum(trial.success for trial in counted), len(counted)),
        }
        if setting.target != "guard" and counted:
            row["mean_queries"] = round(sum(trial.value or 0 for trial in counted) / len(counted), 1)
        found.append(row)
    return found


def reach(classifier: DifferentiableClassifier, seed: int) -> dict[str, float]:
    """Half the distance to the nearest other vector, relative to the mean length: up to there, a moved vector is still
    nearest to its own token."""
    matrix = classifier.embedding_matrix
    tokens = random.Random(seed).sample(sorted(classifier.whole_words().values()), _NEIGHBOURS_OF)
    nearest = []
    for at in range(0, len(tokens), 100):
        part = torch.tensor(tokens[at : at + 100])
        distances = torch.cdist(matrix[part], matrix)
        distances[torch.arange(len(part)), part] = torch.inf
        nearest.append(distances.amin(1))
    half = torch.cat(nearest) / 2 / matrix.norm(dim=-1).mean()
    return {
        "mean_vector_length": round(float(matrix.norm(dim=-1).mean()), 4),
        "median": round(float(half.median()), 4),
        "first_percentile": round(float(half.quantile(0.01)), 4),
        "least": round(float(half.min()), 4),
        "words": len(tokens),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.gradients", description=__doc__)
    parser.add_argument("--config", type=Path, help="settings of another model or policy")
    parser.add_argument("--head", default="request_risk")
    parser.add_argument("--harmful", type=int, default=140, help="prompts for the curves")
    parser.add_argument("--benign", type=int, default=60, help="prompts for the curves")
    parser.add_argument("--flips", type=int, default=24, help="prompts of each kind for HotFlip")
    parser.add_argument("--norms", nargs="+", choices=("l2", "linf"), default=("l2", "linf"))
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--kept", type=Path, help="a file for what is done")
    parser.add_argument("--out", type=Path, help="a file for the JSON instead of standard output")
    options = parser.parse_args()
    service = ProbedService(load_settings(options.config))
    try:
        size = Size(options.harmful, options.benign, options.flips, tuple(options.norms))
        planned = suite(options.head, size, options.seed)
        units = [unit for _, unit in planned.units()]
        random.Random(options.seed).shuffle(units)
        done = outcomes(Plan(planned, options.seed, tuple(units)), service, options.kept)
        gradients = service.targets().gradients
        assert gradients is not None
        rows = list(by_setting(done).values())
        result = {
            "digests": service.digests(),
            "head": options.head,
            "normalizer": NORMALIZER_VERSION,
            "seed": options.seed,
            "benign_sources": _BENIGN,
            "reach": reach(gradients(options.head), options.seed),
            "curves": curves(row for row in rows if row[0].category == "embedding"),
            "flips": flips(row for row in rows if row[0].category == "words"),
            "seconds_per_unit": seconds(done),
            "machine": machine(),
            "versions": versions(),
            "date": datetime.now(UTC).date().isoformat(),
        }
    finally:
        service.close()
    give(result, options.out)


def seconds(done: Sequence[UnitOutcome]) -> dict[str, float]:
    """Median and greatest: of the machine as it was, busy or not."""
    taken = sorted(one.seconds for one in done)
    return {"median": round(taken[len(taken) // 2], 3), "greatest": round(taken[-1], 3), "units": len(taken)}


if __name__ == "__main__":
    main()
