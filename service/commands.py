"""What each `wardgate` command does. Heavy imports stay inside the command that needs them."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from guards.errors import ConfigError, InvalidInput, UnknownName
from guards.rewards.guard import RewardGuard, head_risk
from guards.types import Candidate, HeadScore, Message, Role, Stage, TextPart
from service.config import NoBackend, Settings, TransformersSettings, load_settings

CHECK_TIMEOUT_S = 60.0


def serve(options: Namespace) -> int:
    from service.app import App
    from service.logs import set_up_logging

    settings = load_settings(options.config)
    set_up_logging(settings.log)

    async def run() -> None:
        await App(settings).run()

    asyncio.run(run())
    return 0


def check(options: Namespace) -> int:
    """Judges one text in this process, by the same pipeline as the server."""
    from google.protobuf.json_format import MessageToJson

    from service.replies import check_response

    settings = _scoring_only(options)
    response = check_response(asyncio.run(_check(settings, options)), options.scores)
    if options.json:
        print(MessageToJson(response))
        return 0
    decision = response.decision
    print(f"{_word(decision.action)}  ({decision.reason_code})")
    for finding in decision.findings:
        print(f"  {finding.rule}: {finding.category} risk {finding.risk:.3f} (from {finding.threshold:.2f})")
    return 0


async def _check(settings: Settings, options: Namespace) -> Any:
    from service.app import App
    from service.exchange import CheckCall

    app = App(settings)
    try:
        return await app.pipeline.check(
            CheckCall(
                request_id="command-line",
                deadline=time.monotonic() + CHECK_TIMEOUT_S,
                messages=(Message(Role.USER, (TextPart(options.text),)),),
                candidates=tuple(Candidate((TextPart(text),)) for text in options.response),
                policy=options.policy,
                want_scores=options.scores,
            )
        )
    finally:
        await app.batcher.close(0)


def _word(action: int) -> str:
    from wardgate.v1 import decision_pb2

    return decision_pb2.Action.Name(action).removeprefix("ACTION_")


def evaluate(options: Namespace) -> int:
    """Measures one head on a labelled file, at the default policy's threshold."""
    from guards.learning.evaluate import evaluate_file
    from service.reward_models import head_stages, open_reward_model

    settings = _scoring_only(options)
    model = open_reward_model(settings)
    if options.head not in model.heads:
        raise UnknownName("head", options.head, model.heads)
    judged = default_threshold(settings, head_stages(model.manifest), options.head, model.identity.digest)
    report = evaluate_file(model, options.file, options.head, judged.threshold, judged.risk)
    if options.json:
        print(json.dumps(report))
        return 0
    print(f"{report['file']}: {report['n']} rows, head {report['head']}")
    for name, figure in report["metrics"].items():
        print(f"  {name:20} {figure['value']:.3f}  [{figure['low']:.3f}, {figure['high']:.3f}]")
    return 0


@dataclass(frozen=True, slots=True)
class Judged:
    """How a policy judges a head: withheld where `risk(score) >= threshold`."""

    threshold: float
    risk: Callable[[HeadScore], float]


def default_threshold(settings: Settings, stages: Mapping[str, Stage], head: str, model_digest: str) -> Judged:
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
    from service.reward_models import head_stages, open_reward_model

    settings = _scoring_only(options)
    directory = options.out or settings.calibrations.directory
    if directory is None:
        raise ConfigError("where should the calibration go? Set calibrations.directory, or give --out")
    if options.valid_days < 1:
        raise InvalidInput("--valid-days must be at least 1")
    model = open_reward_model(settings)
    guard = _reward_guard(settings, head_stages(model.manifest), options.policy, options.guard)
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


def _reward_guard(settings: Settings, stages: Mapping[str, Stage], policy_name: str, guard_name: str) -> RewardGuard:
    """The guard to calibrate. Its policy may name a calibration that is not there yet."""
    from service.policies import PolicyStore

    chosen = settings.policies
    store = PolicyStore(chosen.directory, chosen.default, chosen.routes, stages, lambda policies, ok: None)
    store.load()
    policy = store.select(policy_name, "")
    members = (*policy.request, *policy.response)
    guards = [member.guard for member in members if isinstance(member.guard, RewardGuard)]
    fitting = [guard for guard in guards if guard_name in ("", guard.name)]
    if not fitting:
        raise UnknownName("reward guard", guard_name, [guard.name for guard in guards])
    if len(fitting) > 1:
        names = ", ".join(guard.name for guard in fitting)
        raise InvalidInput(f"policy '{policy.name}' has several reward guards; name one with --guard: {names}")
    return fitting[0]


def train_reward(options: Namespace) -> int:
    from guards.learning.train import train_reward as train
    from service.models import ModelCache
    from service.progress import ProgressBars

    settings = load_settings(options.config)
    encoder = ModelCache(settings.model_cache).path(settings.scoring.encoder)
    manifest = train(options.recipe, options.out, encoder, ProgressBars(), settings.model_cache.parent / "features")
    for head in manifest.heads:
        for figure in head.held_out:
            interval = f"[{figure.low:.3f}, {figure.high:.3f}]"
            print(f"{head.name:16} {figure.source:28} {figure.metric:20} {figure.value:.3f} {interval}  n={figure.n}")
    print(f"wrote {options.out}; use it with scoring.artefact, after `wardgate models pull`")
    return 0


def models_pull(options: Namespace) -> int:
    from service.models import ModelCache, pull_models
    from service.reward_models import export_reward_model

    settings = load_settings(options.config)
    names = options.names or _needed_models(settings)
    for path in pull_models(ModelCache(settings.model_cache), names, progress=not options.quiet):
        print(path)
    if not options.names or settings.scoring.encoder in options.names:
        print(export_reward_model(settings).parent)
    return 0


def models_list(options: Namespace) -> int:
    from service.models import ModelCache, list_models

    for entry in list_models(ModelCache(load_settings(options.config).model_cache)):
        size = f"{entry.size_bytes / 1e6:.0f} MB"
        print(f"{entry.name:32} {entry.state.value:8} {size:>8}  {entry.digest[:12]:12}  {entry.source}")
    return 0


def models_verify(options: Namespace) -> int:
    from service.models import ModelCache, verify_models
    from service.reward_models import open_reward_model

    settings = load_settings(options.config)
    names = options.names or _needed_models(settings)
    for manifest in verify_models(ModelCache(settings.model_cache), names):
        print(f"{manifest.name}: {len(manifest.files)} files as published, {manifest.digest[:12]}")
    if not options.names:
        identity = open_reward_model(settings).identity
        print(f"{identity.name}: heads and graph as published, {identity.digest[:12]}")
    return 0


def policy_validate(options: Namespace) -> int:
    """Every file is checked, also after one that is wrong."""
    from guards.policy import load_policy
    from guards.rewards.manifest import load_manifest
    from guards.rewards.reward_model import EMBEDDED_DIR
    from service.calibrations import CalibrationStore
    from service.reward_models import head_stages

    settings = load_settings(options.config)
    manifest, digest = load_manifest(settings.scoring.artefact or EMBEDDED_DIR)
    stages = head_stages(manifest)
    calibrations = CalibrationStore(settings.calibrations.directory, lambda: (digest,)).load()
    faults = 0
    for file in options.files:
        try:
            policy = load_policy(file, stages, calibrations)
            print(f"{file}: policy '{policy.name}' version {policy.version} is valid")
        except ConfigError as error:
            faults += 1
            print(error, file=sys.stderr)
    return 2 if faults else 0


def _needed_models(settings: Settings) -> list[str]:
    wrapped = settings.backend.model if isinstance(settings.backend, TransformersSettings) else None
    return [settings.scoring.encoder, *([wrapped] if wrapped else [])]


def _scoring_only(options: Namespace) -> Settings:
    """The settings without a wrapped model, which this command has no use for."""
    return load_settings(options.config).model_copy(update={"backend": NoBackend()})
