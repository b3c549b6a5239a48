"""What each method of the clients for the reward model's versions sends and expects; see `calls.py`."""

from __future__ import annotations

from typing import Literal

from wardgate.calls import Call
from wardgate.v1 import reward_model_pb2
from wardgate.v1.reward_model_pb2 import (
    GetRewardModelRequest,
    GetRewardModelResponse,
    ListRewardModelsRequest,
    ListRewardModelsResponse,
    RewardModel,
    RollBackRequest,
    RollBackResponse,
    SetRolloutRequest,
    SetRolloutResponse,
)

RolloutStage = Literal["none", "shadow", "canary", "active"]

_SERVICE = "wardgate.v1.RewardModelService"
_STAGES = {
    "none": reward_model_pb2.ROLLOUT_STAGE_NONE,
    "shadow": reward_model_pb2.ROLLOUT_STAGE_SHADOW,
    "canary": reward_model_pb2.ROLLOUT_STAGE_CANARY,
    "active": reward_model_pb2.ROLLOUT_STAGE_ACTIVE,
}
_CHANGE_S = 120.0  # a version may have to be exported, and is loaded and proven, before it serves


def list_reward_models(*, timeout: float | None = None) -> Call[ListRewardModelsResponse]:
    """Every version of the reward model and what each does. `timeout` is in seconds. Raises WardgateError."""
    request = ListRewardModelsRequest()
    return Call(f"/{_SERVICE}/ListRewardModels", request, ListRewardModelsResponse.FromString, timeout)


def get_reward_model(model: str, *, timeout: float | None = None) -> Call[RewardModel]:
    """One version, by version or digest, with its held-out figures. Raises WardgateError."""
    request = GetRewardModelRequest(model=model)
    return Call(
        f"/{_SERVICE}/GetRewardModel", request, lambda raw: GetRewardModelResponse.FromString(raw).model, timeout
    )


def set_rollout(
    model: str, stage: RolloutStage, *, percent: float | None = None, timeout: float = _CHANGE_S
) -> Call[RewardModel]:
    """Gives a version a stage, by version or digest; `percent` of the sessions for a canary. Needs an admin's token.

    When it returns, new requests begin on it; no request fails. Raises WardgateError, and then nothing was changed
    unless its code is DEADLINE_EXCEEDED or UNAVAILABLE: list to see.
    """
    if stage not in _STAGES:
        raise ValueError(f"a stage is one of {', '.join(_STAGES)}")
    request = SetRolloutRequest(model=model, stage=_STAGES[stage], percent=percent)
    return Call(f"/{_SERVICE}/SetRollout", request, lambda raw: SetRolloutResponse.FromString(raw).model, timeout)


def roll_back(*, timeout: float = _CHANGE_S) -> Call[RewardModel]:
    """Makes the version active that was before, and gives it. Needs an admin's token; otherwise as `set_rollout`."""
    return Call(f"/{_SERVICE}/RollBack", RollBackRequest(), lambda raw: RollBackResponse.FromString(raw).model, timeout)
