"""`wardgate models rollout`: the operator's side, over gRPC to one running server."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from guards.errors import ConfigError

if TYPE_CHECKING:  # loading gRPC takes longer than most commands
    from wardgate import Client
    from wardgate.v1.reward_model_pb2 import ListRewardModelsResponse, RewardModel


def list_rollout(options: Namespace) -> int:
    return call(options, lambda client: _show_all(client.list_reward_models(), options.json))


def set_rollout(options: Namespace) -> int:
    if (options.stage == "canary") != (options.percent is not None):
        raise ConfigError("--percent goes with --stage canary, and with no other")
    return call(
        options,
        lambda client: _show(client.set_rollout(options.model, options.stage, percent=options.percent), options.json),
    )


def roll_back(options: Namespace) -> int:
    return call(options, lambda client: _show(client.roll_back(), options.json))


def call(options: Namespace, use: Callable[[Client], None]) -> int:
    """Calls the server that the options name; what it refuses is told, with 2."""
    from wardgate import WardgateError

    try:
        with _client(options) as client:
            use(client)
    except WardgateError as error:
        print(f"wardgate: {error}", file=sys.stderr)
        return 2
    return 0


def _client(options: Namespace) -> Client:
    from wardgate import TLS, Client

    tls = TLS(_read(options.ca_file, "--ca-file")) if options.ca_file else None
    token = _token(_read(options.token_file, "--token-file")) if options.token_file else None
    try:
        return Client(options.server, tls=tls, token=token)
    except ValueError as error:
        raise ConfigError(
            f"the token for {options.server} cannot be sent: over another machine's port it needs --ca-file"
        ) from error


def _token(content: bytes) -> str:
    """The first one of a file as `grpc.tokens_file`."""
    lines = (line.strip() for line in content.decode(errors="replace").splitlines())
    return next((line for line in lines if line and not line.startswith("#")), "")


def _read(file: Path, option: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{option} {file}: cannot be read: {error.strerror}") from error


def _show_all(reply: ListRewardModelsResponse, as_json: bool) -> None:
    if as_json:
        from google.protobuf.json_format import MessageToJson

        print(MessageToJson(reply))
        return
    for model in reply.models:
        print(_line(model))
    for damaged in reply.damaged:
        print(f"{damaged.folder}: damaged: {damaged.fault}")
    print(f"before: {', '.join(digest[:12] for digest in reversed(reply.history)) or 'none'}")


def _show(model: RewardModel, as_json: bool) -> None:
    from google.protobuf.json_format import MessageToJson

    print(MessageToJson(model) if as_json else _line(model))


def _line(model: RewardModel) -> str:
    from wardgate.v1.reward_model_pb2 import RolloutStage

    stage = RolloutStage.Name(model.stage).removeprefix("ROLLOUT_STAGE_").lower()
    share = f"{model.percent:g} %" if model.percent else ""
    heads = ", ".join(head.name for head in model.heads)
    return f"{model.version:16} {model.digest[:12]}  {stage:7} {share:>8}  {heads}"
