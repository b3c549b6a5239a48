"""What `wardgate evaluate`, `suite`, `calibrate` and `train` do. Heavy imports stay inside their commands."""

from __future__ import annotations

import asyncio
import json
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from guards.errors import ConfigError, InvalidInput, UnknownName
from guards.rewards.guard import RewardGuard, head_risk
from guards.types import HeadScore, Stage
from service.commands import scoring_only
from service.config import Settings, load_settings

if TYPE_CHECKING:
    from guards.learning.evaluate import MeasureFields
    from guards.learning.heldout import HeldOutScores


def evaluate(options: Namespace) -> int:
    """Measures one head on a labelled file, at the default policy's threshold."""
    from guards.learning.evaluate import evaluate_file
    from service.checkpoints import head_stages_of
    from service.further_models import joined_heads
    from service.reward_models import head_stages, open_reward_model

    settings = scoring_only(options)
    model = open_reward_model(settings)
    if options.head not in model.heads:
        raise UnknownName("head", options.head, model.heads)
    heads = joined_heads(head_stages(model.manifest), head_stages_of(settings))
    judged = default_threshold(settings, heads, options.head, model.identity.digest)
    report = evaluate_file(model, options.file, options.head, judged.threshold, judged.risk)
    if options.json:
        print(json.dumps(report))
        return 0
    print(f"{report['file']}: {report['n']} rows, head {report['head']}")
    _print_metrics(report["metrics"])
    for name, category in report.get("categories", {}).items():
        print(f"category {name}: {category['n']} rows")
        _print_metrics(category["metrics"])
    return 0


def _print_metrics(metrics: Mapping[str, MeasureFields]) -> None:
    for name, figure in metrics.items():
        interval = f"[{figure['low']:.3f}, {figure['high']:.3f}]"
        print(f"  {name:20} {figure['value']:6.3f}  {interval:16}  n={figure['n']}")


def evaluate_suite(options: Namespace) -> int:
    """Held-out scores, from their file or by training, as a report; with --gate a failed goal is exit code 3."""
    from guards.learning.gates import GATES, load_gates
    from guards.learning.report import as_html, as_json, measure, summary

    gates = load_gates(options.gate_file or GATES)
    report = measure(_scores(options), gates)
    for path, write in ((options.json, as_json), (options.out, as_html)):
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(write(report), encoding="utf-8")
    print(summary(report))
    if not options.gate or not report.failed:
        return 0
    print(f"wardgate: gates that fail: {'; '.join(result.gate.name for result in report.failed)}", file=sys.stderr)
    return 3


def _scores(options: Namespace) -> HeldOutScores:
    from guards.learning.heldout import load_scores, save_scores
    from guards.learning.train import held_out_scores
    from service.models import ModelCache
    from service.progress import ProgressBars

    if options.scores and options.scores.exists():
        return load_scores(options.scores)
    _check_seeds(options)
    settings = load_settings(options.config)
    encoder = ModelCache(settings.model_cache).path(settings.scoring.encoder)
    scores = held_out_scores(options.recipe, encoder, _training_cache(settings), options.seeds, ProgressBars())
    if options.scores:
        options.scores.parent.mkdir(parents=True, exist_ok=True)
        save_scores(scores, options.scores)
    return scores


@dataclass(frozen=True, slots=True)
class Judged:
    """How a policy judges a head: withheld where `risk(score) >= threshold`."""

    threshold: float
    risk: Callable[[HeadScore], float]


def default_threshold(
    settings: Settings, stages: Mapping[str, frozenset[Stage]], head: str, model_digest: str
) -> Judged:
    """The risk from which the default policy withholds by `head`; 0.5 when it does not use the head."""
    from service.calibrations import CalibrationStore
    from service.policies import PolicyStore

    chosen = settings.policies
    calibrations = CalibrationStore(settings.calibrations.directory, lambda: (model_digest,))
    store = PolicyStore(
        chosen.directory, chosen.default, chosen.routes, stages, lambda policies, ok: None, calibrations
    )
    store.load()
    policy = store.select("", "")
    for member in (*policy.guards(Stage.REQUEST), *policy.guards(Stage.RESPONSE)):
        guard = member.guard
        if isinstance(guard, RewardGuard) and guard.head == head:
            calibration = guard.calibration_for(model_digest)
            least = min(rung.threshold for rung in guard.rungs(calibration) if rung.action.withholds)
            return Judged(least, calibration.risk if calibration else head_risk)
    return Judged(0.5, head_risk)


def calibrate(options: Namespace) -> int:
    """Scores benign texts, and writes the threshold that blocks few of them with the promise behind it."""
    from guards.learning.calibrate import CalibrationTask, calibrate_files
    from guards.rewards.calibrated import save_calibration
    from service.calibration_report import as_json, as_text
    from service.checkpoints import head_stages_of
    from service.further_models import joined_heads
    from service.reward_models import head_stages, open_reward_model

    settings = scoring_only(options)
    directory = options.out or settings.calibrations.directory or Path("calibrations")
    if options.valid_days < 1:
        raise InvalidInput("--valid-days must be at least 1")
    model = open_reward_model(settings)
    heads = joined_heads(head_stages(model.manifest), head_stages_of(settings))
    guard = _reward_guard(settings, heads, options.policy, options.guard, options.benign)
    if guard.head not in model.heads:
        raise InvalidInput(
            f"guard '{guard.name}' asks a further model, and only heads of the reward model can be calibrated;"
            " set that model's `calibration` in the settings"
        )
    task = CalibrationTask(
        name=options.name or guard.calibration or f"{guard.policy}-{guard.name}",
        policy=guard.policy,
        guard=guard.name,
        head=guard.head,
        alpha=options.target_block_rate,
        delta=round(1 - options.confidence, 12),  # 0.05, not 0.050000000000000044
        valid_days=options.valid_days,
        seed=options.seed,
    )
    report = calibrate_files(model, task, options.benign, options.labelled)
    path = save_calibration(report.calibration, directory)
    print(json.dumps(as_json(report, path)) if options.json else as_text(report, path))
    return 0


def _reward_guard(
    settings: Settings, stages: Mapping[str, frozenset[Stage]], policy_name: str, guard_name: str, benign: Path
) -> RewardGuard:
    """The guard to calibrate: by its name, else the one of the side that the rows are of.

    Its policy may name a calibration that is not there yet.
    """
    from guards.learning.data import Labelled, read_rows
    from service.policies import PolicyStore

    chosen = settings.policies
    store = PolicyStore(chosen.directory, chosen.default, chosen.routes, stages, lambda policies, ok: None)
    store.load()
    policy = store.select(policy_name, "")
    judging = [member for member in (*policy.request, *policy.response) if isinstance(member.guard, RewardGuard)]
    guards = [member.guard for member in judging if isinstance(member.guard, RewardGuard)]
    fitting = [guard for guard in guards if guard_name in ("", guard.name)]
    if not fitting:
        raise UnknownName("reward guard", guard_name, [guard.name for guard in guards])
    if len(fitting) > 1 and not guard_name:
        row = read_rows(benign, unlabelled=0)[0]
        side = Stage.REQUEST if isinstance(row, Labelled) and row.response is None else Stage.RESPONSE
        of_side = [member.guard for member in judging if member.stage is side]
        fitting = [guard for guard in of_side if isinstance(guard, RewardGuard)] or fitting
    if len(fitting) > 1:
        names = ", ".join(guard.name for guard in fitting)
        raise InvalidInput(f"policy '{policy.name}' has several reward guards; name one with --guard: {names}")
    return fitting[0]


def train_reward(options: Namespace) -> int:
    from guards.learning.train import train_reward as train
    from service.models import ModelCache
    from service.progress import ProgressBars

    _check_seeds(options)
    settings = load_settings(options.config)
    encoder = ModelCache(settings.model_cache).path(settings.scoring.encoder)
    cache = _training_cache(settings)
    manifest = train(options.recipe, options.out, encoder, cache, options.seeds, ProgressBars())
    for head in manifest.heads:
        for figure in head.held_out:
            interval = f"[{figure.low:.3f}, {figure.high:.3f}]"
            print(f"{head.name:16} {figure.source:28} {figure.metric:20} {figure.value:.3f} {interval}  n={figure.n}")
    print(f"wrote {options.out}; use it with scoring.artefact, after `wardgate models pull`")
    return 0


def _check_seeds(options: Namespace) -> None:
    if options.seeds < 1:
        raise InvalidInput("--seeds takes 1 or more")


def _training_cache(settings: Settings) -> Path:
    """Where states and finished fits are kept, so that a run that was stopped goes on where it was."""
    return settings.model_cache.parent / "training"


def train_answers(options: Namespace) -> int:
    """Lets the configured wrapped model answer harmless prompts, for contrast pairs."""
    from service.app import build_backend
    from service.model_answers import harmless_prompts, write_answers
    from service.progress import ProgressBars

    backend = build_backend(load_settings(options.config))
    if backend is None:
        raise ConfigError("backend.kind is none, and answers need a wrapped model")
    prompts = harmless_prompts(options.prompts, options.limit, options.seed)
    kept = asyncio.run(write_answers(backend, prompts, options.max_tokens, options.seed, options.out, ProgressBars()))
    print(f"wrote {kept} answers to {options.out}; name the file in a recipe, under `files`")
    return 0
