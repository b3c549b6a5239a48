from wardgate.v1 import decision_pb2 as _decision_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RolloutStage(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROLLOUT_STAGE_UNSPECIFIED: _ClassVar[RolloutStage]
    ROLLOUT_STAGE_NONE: _ClassVar[RolloutStage]
    ROLLOUT_STAGE_SHADOW: _ClassVar[RolloutStage]
    ROLLOUT_STAGE_CANARY: _ClassVar[RolloutStage]
    ROLLOUT_STAGE_ACTIVE: _ClassVar[RolloutStage]
ROLLOUT_STAGE_UNSPECIFIED: RolloutStage
ROLLOUT_STAGE_NONE: RolloutStage
ROLLOUT_STAGE_SHADOW: RolloutStage
ROLLOUT_STAGE_CANARY: RolloutStage
ROLLOUT_STAGE_ACTIVE: RolloutStage

class RewardModel(_message.Message):
    __slots__ = ("name", "version", "digest", "stage", "percent", "loaded", "heads")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    PERCENT_FIELD_NUMBER: _ClassVar[int]
    LOADED_FIELD_NUMBER: _ClassVar[int]
    HEADS_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    digest: str
    stage: RolloutStage
    percent: float
    loaded: bool
    heads: _containers.RepeatedCompositeFieldContainer[RewardHead]
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., digest: _Optional[str] = ..., stage: _Optional[_Union[RolloutStage, str]] = ..., percent: _Optional[float] = ..., loaded: bool = ..., heads: _Optional[_Iterable[_Union[RewardHead, _Mapping]]] = ...) -> None: ...

class RewardHead(_message.Message):
    __slots__ = ("name", "stage", "calibration", "held_out")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    CALIBRATION_FIELD_NUMBER: _ClassVar[int]
    HELD_OUT_FIELD_NUMBER: _ClassVar[int]
    name: str
    stage: _decision_pb2.Stage
    calibration: str
    held_out: _containers.RepeatedCompositeFieldContainer[HeldOutFigure]
    def __init__(self, name: _Optional[str] = ..., stage: _Optional[_Union[_decision_pb2.Stage, str]] = ..., calibration: _Optional[str] = ..., held_out: _Optional[_Iterable[_Union[HeldOutFigure, _Mapping]]] = ...) -> None: ...

class HeldOutFigure(_message.Message):
    __slots__ = ("source", "metric", "value", "low", "high", "n")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    N_FIELD_NUMBER: _ClassVar[int]
    source: str
    metric: str
    value: float
    low: float
    high: float
    n: int
    def __init__(self, source: _Optional[str] = ..., metric: _Optional[str] = ..., value: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ..., n: _Optional[int] = ...) -> None: ...

class DamagedRewardModel(_message.Message):
    __slots__ = ("folder", "fault")
    FOLDER_FIELD_NUMBER: _ClassVar[int]
    FAULT_FIELD_NUMBER: _ClassVar[int]
    folder: str
    fault: str
    def __init__(self, folder: _Optional[str] = ..., fault: _Optional[str] = ...) -> None: ...

class ListRewardModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListRewardModelsResponse(_message.Message):
    __slots__ = ("models", "damaged", "history")
    MODELS_FIELD_NUMBER: _ClassVar[int]
    DAMAGED_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[RewardModel]
    damaged: _containers.RepeatedCompositeFieldContainer[DamagedRewardModel]
    history: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, models: _Optional[_Iterable[_Union[RewardModel, _Mapping]]] = ..., damaged: _Optional[_Iterable[_Union[DamagedRewardModel, _Mapping]]] = ..., history: _Optional[_Iterable[str]] = ...) -> None: ...

class GetRewardModelRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class GetRewardModelResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: RewardModel
    def __init__(self, model: _Optional[_Union[RewardModel, _Mapping]] = ...) -> None: ...

class SetRolloutRequest(_message.Message):
    __slots__ = ("model", "stage", "percent")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    PERCENT_FIELD_NUMBER: _ClassVar[int]
    model: str
    stage: RolloutStage
    percent: float
    def __init__(self, model: _Optional[str] = ..., stage: _Optional[_Union[RolloutStage, str]] = ..., percent: _Optional[float] = ...) -> None: ...

class SetRolloutResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: RewardModel
    def __init__(self, model: _Optional[_Union[RewardModel, _Mapping]] = ...) -> None: ...

class RollBackRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RollBackResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: RewardModel
    def __init__(self, model: _Optional[_Union[RewardModel, _Mapping]] = ...) -> None: ...
