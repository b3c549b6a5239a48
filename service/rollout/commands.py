"""`wardgate models rollout`: the operator's side, over gRPC to one running server."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from guards.errors import ConfigError
from service.remote import call

if TYPE_CHECKING:  # loading gRPC takes longer than most commands
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
