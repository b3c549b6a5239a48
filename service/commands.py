"""What each `wardgate` command does. Heavy imports stay inside the command that needs them."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guards.errors import ConfigError, InvalidInput, UnknownName
from guards.types import Candidate, Message, Role, Stage, TextPart
from service.config import NoBackend, Settings, TransformersSettings, load_settings

if TYPE_CHECKING:
    from guards.learning.evaluate import MeasureFields
    from guards.learning.heldout import HeldOutScores

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
        await app.close_scoring(0)


def _word(action: int) -> str:
    from wardgate.v1 import decision_pb2

    return decision_pb2.Action.Name(action).removeprefix("ACTION_")


def evaluate(options: Namespace) -> int:
    """Measures one head on a labelled file, at the default policy's threshold."""
    from guards.learning.evaluate import evaluate_file
    from service.checkpoints import head_stages_of
    from service.further_models import joined_heads
    from service.reward_models import head_stages, open_reward_model

    settings = _scoring_only(options)
    model = open_reward_model(settings)
    if options.head not in model.heads:
        raise UnknownName("head", options.head, model.heads)
    heads = joined_heads(head_stages(model.manifest), head_stages_of(settings))
    threshold = default_threshold(settings, heads, options.head)
    report = evaluate_file(model, options.file, options.head, threshold)
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
    if options.seeds < 1:
        raise InvalidInput("--seeds takes 1 or more")
    settings = load_settings(options.config)
    encoder = ModelCache(settings.model_cache).path(settings.scoring.encoder)
    scores = held_out_scores(options.recipe, encoder, _training_cache(settings), options.seeds, ProgressBars())
    if options.scores:
        options.scores.parent.mkdir(parents=True, exist_ok=True)
        save_scores(scores, options.scores)
    return scores


def default_threshold(settings: Settings, stages: Mapping[str, frozenset[Stage]], head: str) -> float:
    """The risk from which the default policy withholds by `head`; 0.5 when it does not use the head."""
    from guards.policy import withholding_risk
    from service.policies import PolicyStore

    chosen = settings.policies
    store = PolicyStore(chosen.directory, chosen.default, chosen.routes, stages, lambda policies, ok: None)
    store.load()
    risk = withholding_risk(store.select("", ""), head)
    return 0.5 if risk is None else risk


def train_reward(options: Namespace) -> int:
    from guards.learning.train import train_reward as train
    from service.models import ModelCache
    from service.progress import ProgressBars

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


def models_pull(options: Namespace) -> int:
    from service.checkpoints import pull_model
    from service.models import ModelCache, pull_models
    from service.reward_models import configured_artefact, export_reward_model
    from service.rollout.catalogue import read_catalogue

    settings = load_settings(options.config)
    configured = {model.name: model for model in settings.models}
    asked = options.names or [*_needed_models(settings), *configured]
    names = [name for name in asked if name not in configured]
    pulled = pull_models(ModelCache(settings.model_cache), names, progress=not options.quiet) if names else ()
    for path in pulled:
        print(path)
    if not options.names or settings.scoring.encoder in options.names:
        for artefact in read_catalogue(settings.rollout.directory, configured_artefact(settings)).artefacts.values():
            print(export_reward_model(settings, artefact.folder).parent)
    for name in asked:
        if name in configured:
            print(pull_model(settings, configured[name], progress=not options.quiet))
    return 0


def models_list(options: Namespace) -> int:
    from service.checkpoints import list_configured
    from service.models import ModelCache, list_models

    settings = load_settings(options.config)
    for entry in list_models(ModelCache(settings.model_cache)):
        size = f"{entry.size_bytes / 1e6:.0f} MB"
        print(f"{entry.name:32} {entry.state.value:8} {size:>8}  {entry.digest[:12]:12}  {entry.source}")
    for model in list_configured(settings):
        state = "unready" if model.fault else "ready"
        print(f"{model.name:32} {state:8} {model.runtime:>8}  {model.digest[:12]:12}  {model.fault or model.source}")
    return 0


def models_verify(options: Namespace) -> int:
    from service.checkpoints import prepare_model
    from service.models import ModelCache, verify_models
    from service.reward_models import configured_artefact, open_reward_model
    from service.rollout.catalogue import read_catalogue

    settings = load_settings(options.config)
    configured = {model.name: model for model in settings.models}
    asked = options.names or [*_needed_models(settings), *configured]
    names = [name for name in asked if name not in configured]
    for manifest in verify_models(ModelCache(settings.model_cache), names) if names else ():
        print(f"{manifest.name}: {len(manifest.files)} files as published, {manifest.digest[:12]}")
    for name in asked:
        if name in configured:
            prepared = prepare_model(settings, configured[name])
            print(f"{name}: served by {'onnx' if prepared.graph else 'torch'}, {prepared.checkpoint.digest[:12]}")
    if not options.names:
        for artefact in read_catalogue(settings.rollout.directory, configured_artefact(settings)).artefacts.values():
            identity = open_reward_model(settings, artefact.folder).identity
            print(f"{identity.name} {identity.version}: heads and graph as published, {identity.digest[:12]}")
    return 0


def policy_validate(options: Namespace) -> int:
    """Every file is checked, also after one that is wrong."""
    from guards.policy import load_policy
    from service.checkpoints import head_stages_of
    from service.further_models import joined_heads
    from service.reward_models import configured_artefact
    from service.rollout.rollout import kept_heads

    settings = load_settings(options.config)
    own = kept_heads(settings.rollout.directory, configured_artefact(settings))
    heads = joined_heads(own, head_stages_of(settings))
    faults = 0
    for file in options.files:
        try:
            policy = load_policy(file, heads)
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
