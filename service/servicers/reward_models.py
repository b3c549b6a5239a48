"""RewardModelService: decode, change the rollout, encode."""

from __future__ import annotations

from collections.abc import Mapping

from guards.errors import FieldViolation, InvalidInput
from guards.rewards.manifest import HeadSpec
from guards.types import Stage
from service.convert import parse
from service.exchange import ModelRole
from service.interceptors import Method, StreamMethod
from service.rollout.changes import RolloutChanges, VersionView
from service.rollout.share import RESOLUTION
from wardgate.v1 import decision_pb2 as decisions
from wardgate.v1 import reward_model_pb2 as models

_ROLES = {
    models.ROLLOUT_STAGE_NONE: None,
    models.ROLLOUT_STAGE_SHADOW: ModelRole.SHADOW,
    models.ROLLOUT_STAGE_CANARY: ModelRole.CANARY,
    models.ROLLOUT_STAGE_ACTIVE: ModelRole.ACTIVE,
}
_STAGES = {role: stage for stage, role in _ROLES.items()}
_SIDES = {Stage.REQUEST: decisions.STAGE_REQUEST, Stage.RESPONSE: decisions.STAGE_RESPONSE}
_LONGEST_NAME = 128


class RewardModelServicer:
    """Methods take the request's bytes and a deadline, which ends them from outside."""

    service = models.DESCRIPTOR.services_by_name["RewardModelService"].full_name
    admin_methods = frozenset({"SetRollout", "RollBack"})

    def __init__(self, changes: RolloutChanges, max_message_bytes: int) -> None:
        self._changes = changes
        self._max_message_bytes = max_message_bytes

    @property
    def methods(self) -> Mapping[str, Method]:
        return {
            "ListRewardModels": self.list_reward_models,
            "GetRewardModel": self.get_reward_model,
            "SetRollout": self.set_rollout,
            "RollBack": self.roll_back,
        }

    @property
    def stream_methods(self) -> Mapping[str, StreamMethod]:
        return {}

    async def list_reward_models(self, raw: bytes, _: float) -> models.ListRewardModelsResponse:
        parse(models.ListRewardModelsRequest, raw, self._max_message_bytes)
        view = await self._changes.overview()
        return models.ListRewardModelsResponse(
            models=[_model(version) for version in view.versions],
            damaged=[models.DamagedRewardModel(folder=one.folder.name, fault=one.fault) for one in view.damaged],
            history=view.history,
        )

    async def get_reward_model(self, raw: bytes, _: float) -> models.GetRewardModelResponse:
        request = parse(models.GetRewardModelRequest, raw, self._max_message_bytes)
        _require(_name_faults(request.model))
        return models.GetRewardModelResponse(model=_model(await self._changes.get(request.model), figures=True))

    async def set_rollout(self, raw: bytes, _: float) -> models.SetRolloutResponse:
        request = parse(models.SetRolloutRequest, raw, self._max_message_bytes)
        _require([*_name_faults(request.model), *_stage_faults(request)])
        changed = await self._changes.set(request.model, _ROLES[request.stage], request.percent)
        return models.SetRolloutResponse(model=_model(changed))

    async def roll_back(self, raw: bytes, _: float) -> models.RollBackResponse:
        parse(models.RollBackRequest, raw, self._max_message_bytes)
        return models.RollBackResponse(model=_model(await self._changes.roll_back()))


def _name_faults(name: str) -> list[FieldViolation]:
    return [] if 1 <= len(name) <= _LONGEST_NAME else [FieldViolation("model", "name a version or a digest")]


def _stage_faults(request: models.SetRolloutRequest) -> list[FieldViolation]:
    if request.stage not in _ROLES:
        return [FieldViolation("stage", "one of SHADOW, CANARY, ACTIVE and NONE is needed")]
    canary = request.stage == models.ROLLOUT_STAGE_CANARY
    if canary and not RESOLUTION <= request.percent <= 100:  # also NaN, and when there is none
        return [FieldViolation("percent", f"a canary needs a share of {RESOLUTION} to 100")]
    if not canary and request.HasField("percent"):
        return [FieldViolation("percent", "only a canary has a share")]
    return []


def _require(faults: list[FieldViolation]) -> None:
    if faults:
        raise InvalidInput(f"invalid request: {', '.join(fault.field for fault in faults)}", faults)


def _model(view: VersionView, figures: bool = False) -> models.RewardModel:
    manifest = view.artefact.manifest
    sides = view.artefact.heads
    return models.RewardModel(
        name=manifest.name,
        version=manifest.version,
        digest=view.artefact.digest,
        stage=_STAGES[view.role],
        percent=view.weight * 100,
        loaded=view.loaded,
        heads=[_head(head, sides[head.name], figures) for head in manifest.heads],
    )


def _head(head: HeadSpec, sides: frozenset[Stage], figures: bool) -> models.RewardHead:
    (side,) = sides  # of a head of ours
    return models.RewardHead(
        name=head.name,
        stage=_SIDES[side],
        calibration=head.calibration.id,
        held_out=[models.HeldOutFigure(**figure.model_dump()) for figure in head.held_out] if figures else (),
    )
