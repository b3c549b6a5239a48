"""What each `wardgate` command does. Heavy imports stay inside the command that needs them."""

from __future__ import annotations

import asyncio
import sys
import time
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from guards.errors import ConfigError
from guards.types import Candidate, Message, Role, TextPart
from service.config import NoBackend, Settings, TransformersSettings, load_settings

if TYPE_CHECKING:
    from wardgate.v1.guardrail_pb2 import CheckResponse

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
    """Judges one text in this process, by the same pipeline as the server, or asks a server that runs."""
    if options.server:
        return _check_by_server(options)
    if options.token_file or options.ca_file or options.certificate_file or options.key_file:
        raise ConfigError("--token-file, --ca-file, --certificate-file and --key-file need --server")
    from service.replies import check_response

    settings = scoring_only(options)
    _show_check(check_response(asyncio.run(_check(settings, options)), options.scores), options.json)
    return 0


def _check_by_server(options: Namespace) -> int:
    from service.remote import call

    if options.config:
        raise ConfigError("--config is of this process, and --server has its own; take one")
    return call(
        options,
        lambda client: _show_check(
            client.check(options.text, responses=options.response, policy=options.policy, scores=options.scores),
            options.json,
        ),
    )


def _show_check(response: CheckResponse, as_json: bool) -> None:
    from google.protobuf.json_format import MessageToJson

    if as_json:
        print(MessageToJson(response))
        return
    decision = response.decision
    print(f"{_word(decision.action)}  ({decision.reason_code})")
    for finding in decision.findings:
        print(f"  {finding.rule}: {finding.category} risk {finding.risk:.3f} (from {finding.threshold:.2f})")


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
    from service.calibrations import CalibrationStore
    from service.checkpoints import head_stages_of
    from service.further_models import joined_heads
    from service.reward_models import configured_artefact
    from service.rollout.rollout import kept, kept_heads

    settings = load_settings(options.config)
    state, _ = kept(settings.rollout.directory, configured_artefact(settings))
    own = kept_heads(settings.rollout.directory, configured_artefact(settings))
    heads = joined_heads(own, head_stages_of(settings))
    calibrations = CalibrationStore(settings.calibrations.directory, lambda: (state.active,)).load()
    faults = 0
    for file in options.files:
        try:
            policy = load_policy(file, heads, calibrations)
            print(f"{file}: policy '{policy.name}' version {policy.version} is valid")
        except ConfigError as error:
            faults += 1
            print(error, file=sys.stderr)
    return 2 if faults else 0


def _needed_models(settings: Settings) -> list[str]:
    wrapped = settings.backend.model if isinstance(settings.backend, TransformersSettings) else None
    return [settings.scoring.encoder, *([wrapped] if wrapped else [])]


def scoring_only(options: Namespace) -> Settings:
    """The settings without a wrapped model, which this command has no use for."""
    return load_settings(options.config).model_copy(update={"backend": NoBackend()})
