import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from wardgate.v1 import decision_pb2 as _decision_pb2
from wardgate.v1 import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Explanation(_message.Message):
    __slots__ = ("head", "stage", "candidate", "reward", "risk", "method", "signed", "tokens", "tokens_total", "faithfulness", "faithful", "completeness_error", "steps", "windows", "duration", "reward_model", "attention", "reading")
    HEAD_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_FIELD_NUMBER: _ClassVar[int]
    REWARD_FIELD_NUMBER: _ClassVar[int]
    RISK_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    SIGNED_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    FAITHFULNESS_FIELD_NUMBER: _ClassVar[int]
    FAITHFUL_FIELD_NUMBER: _ClassVar[int]
    COMPLETENESS_ERROR_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    WINDOWS_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    REWARD_MODEL_FIELD_NUMBER: _ClassVar[int]
    ATTENTION_FIELD_NUMBER: _ClassVar[int]
    READING_FIELD_NUMBER: _ClassVar[int]
    head: str
    stage: _decision_pb2.Stage
    candidate: int
    reward: float
    risk: float
    method: str
    signed: bool
    tokens: _containers.RepeatedCompositeFieldContainer[TokenAttribution]
    tokens_total: int
    faithfulness: Faithfulness
    faithful: bool
    completeness_error: float
    steps: int
    windows: _containers.RepeatedCompositeFieldContainer[ExplainedWindow]
    duration: _duration_pb2.Duration
    reward_model: _decision_pb2.ScoringModel
    attention: AttentionMap
    reading: str
    def __init__(self, head: _Optional[str] = ..., stage: _Optional[_Union[_decision_pb2.Stage, str]] = ..., candidate: _Optional[int] = ..., reward: _Optional[float] = ..., risk: _Optional[float] = ..., method: _Optional[str] = ..., signed: bool = ..., tokens: _Optional[_Iterable[_Union[TokenAttribution, _Mapping]]] = ..., tokens_total: _Optional[int] = ..., faithfulness: _Optional[_Union[Faithfulness, _Mapping]] = ..., faithful: bool = ..., completeness_error: _Optional[float] = ..., steps: _Optional[int] = ..., windows: _Optional[_Iterable[_Union[ExplainedWindow, _Mapping]]] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., reward_model: _Optional[_Union[_decision_pb2.ScoringModel, _Mapping]] = ..., attention: _Optional[_Union[AttentionMap, _Mapping]] = ..., reading: _Optional[str] = ...) -> None: ...

class TokenAttribution(_message.Message):
    __slots__ = ("stage", "spans", "text", "attribution")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    SPANS_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    stage: _decision_pb2.Stage
    spans: _containers.RepeatedCompositeFieldContainer[_decision_pb2.Span]
    text: str
    attribution: float
    def __init__(self, stage: _Optional[_Union[_decision_pb2.Stage, str]] = ..., spans: _Optional[_Iterable[_Union[_decision_pb2.Span, _Mapping]]] = ..., text: _Optional[str] = ..., attribution: _Optional[float] = ...) -> None: ...

class Faithfulness(_message.Message):
    __slots__ = ("comprehensiveness", "sufficiency", "random_comprehensiveness", "random_sufficiency", "deletion")
    COMPREHENSIVENESS_FIELD_NUMBER: _ClassVar[int]
    SUFFICIENCY_FIELD_NUMBER: _ClassVar[int]
    RANDOM_COMPREHENSIVENESS_FIELD_NUMBER: _ClassVar[int]
    RANDOM_SUFFICIENCY_FIELD_NUMBER: _ClassVar[int]
    DELETION_FIELD_NUMBER: _ClassVar[int]
    comprehensiveness: float
    sufficiency: float
    random_comprehensiveness: float
    random_sufficiency: float
    deletion: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, comprehensiveness: _Optional[float] = ..., sufficiency: _Optional[float] = ..., random_comprehensiveness: _Optional[float] = ..., random_sufficiency: _Optional[float] = ..., deletion: _Optional[_Iterable[float]] = ...) -> None: ...

class ExplainedWindow(_message.Message):
    __slots__ = ("spans", "risk", "explained")
    SPANS_FIELD_NUMBER: _ClassVar[int]
    RISK_FIELD_NUMBER: _ClassVar[int]
    EXPLAINED_FIELD_NUMBER: _ClassVar[int]
    spans: _containers.RepeatedCompositeFieldContainer[_decision_pb2.Span]
    risk: float
    explained: bool
    def __init__(self, spans: _Optional[_Iterable[_Union[_decision_pb2.Span, _Mapping]]] = ..., risk: _Optional[float] = ..., explained: bool = ...) -> None: ...

class AttentionSelection(_message.Message):
    __slots__ = ("layer", "attention_head")
    LAYER_FIELD_NUMBER: _ClassVar[int]
    ATTENTION_HEAD_FIELD_NUMBER: _ClassVar[int]
    layer: int
    attention_head: int
    def __init__(self, layer: _Optional[int] = ..., attention_head: _Optional[int] = ...) -> None: ...

class AttentionMap(_message.Message):
    __slots__ = ("selection", "tokens", "weights")
    SELECTION_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    selection: AttentionSelection
    tokens: _containers.RepeatedScalarFieldContainer[str]
    weights: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, selection: _Optional[_Union[AttentionSelection, _Mapping]] = ..., tokens: _Optional[_Iterable[str]] = ..., weights: _Optional[_Iterable[float]] = ...) -> None: ...

class GenerationSelection(_message.Message):
    __slots__ = ("position", "attention", "without_sink")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    ATTENTION_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_SINK_FIELD_NUMBER: _ClassVar[int]
    position: int
    attention: AttentionSelection
    without_sink: bool
    def __init__(self, position: _Optional[int] = ..., attention: _Optional[_Union[AttentionSelection, _Mapping]] = ..., without_sink: bool = ...) -> None: ...

class GenerationExplanation(_message.Message):
    __slots__ = ("model", "prompt_tokens", "response_tokens", "selection", "weights", "attributions", "log_probability", "duration")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    SELECTION_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTIONS_FIELD_NUMBER: _ClassVar[int]
    LOG_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    model: str
    prompt_tokens: _containers.RepeatedScalarFieldContainer[str]
    response_tokens: _containers.RepeatedScalarFieldContainer[str]
    selection: AttentionSelection
    weights: _containers.RepeatedScalarFieldContainer[float]
    attributions: _containers.RepeatedScalarFieldContainer[float]
    log_probability: float
    duration: _duration_pb2.Duration
    def __init__(self, model: _Optional[str] = ..., prompt_tokens: _Optional[_Iterable[str]] = ..., response_tokens: _Optional[_Iterable[str]] = ..., selection: _Optional[_Union[AttentionSelection, _Mapping]] = ..., weights: _Optional[_Iterable[float]] = ..., attributions: _Optional[_Iterable[float]] = ..., log_probability: _Optional[float] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ExplanationView(_message.Message):
    __slots__ = ("explanation", "error")
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    explanation: Explanation
    error: _status_pb2.ItemStatus
    def __init__(self, explanation: _Optional[_Union[Explanation, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.ItemStatus, _Mapping]] = ...) -> None: ...
