import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from wardgate.v1 import conversation_pb2 as _conversation_pb2
from wardgate.v1 import decision_pb2 as _decision_pb2
from wardgate.v1 import explanation_pb2 as _explanation_pb2
from wardgate.v1 import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Scope(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SCOPE_UNSPECIFIED: _ClassVar[Scope]
    SCOPE_NEW_TURNS: _ClassVar[Scope]
    SCOPE_WHOLE_CONVERSATION: _ClassVar[Scope]

class View(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VIEW_UNSPECIFIED: _ClassVar[View]
    VIEW_SCORES: _ClassVar[View]
    VIEW_EXPLANATION: _ClassVar[View]

class FinishReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FINISH_REASON_UNSPECIFIED: _ClassVar[FinishReason]
    FINISH_REASON_STOP: _ClassVar[FinishReason]
    FINISH_REASON_LENGTH: _ClassVar[FinishReason]
    FINISH_REASON_CONTENT_FILTER: _ClassVar[FinishReason]
SCOPE_UNSPECIFIED: Scope
SCOPE_NEW_TURNS: Scope
SCOPE_WHOLE_CONVERSATION: Scope
VIEW_UNSPECIFIED: View
VIEW_SCORES: View
VIEW_EXPLANATION: View
FINISH_REASON_UNSPECIFIED: FinishReason
FINISH_REASON_STOP: FinishReason
FINISH_REASON_LENGTH: FinishReason
FINISH_REASON_CONTENT_FILTER: FinishReason

class CheckRequest(_message.Message):
    __slots__ = ("request_id", "context", "policy", "messages", "candidates", "scope", "views")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    VIEWS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    context: _conversation_pb2.CallContext
    policy: str
    messages: _containers.RepeatedCompositeFieldContainer[_conversation_pb2.Message]
    candidates: _containers.RepeatedCompositeFieldContainer[_conversation_pb2.Candidate]
    scope: Scope
    views: _containers.RepeatedScalarFieldContainer[View]
    def __init__(self, request_id: _Optional[str] = ..., context: _Optional[_Union[_conversation_pb2.CallContext, _Mapping]] = ..., policy: _Optional[str] = ..., messages: _Optional[_Iterable[_Union[_conversation_pb2.Message, _Mapping]]] = ..., candidates: _Optional[_Iterable[_Union[_conversation_pb2.Candidate, _Mapping]]] = ..., scope: _Optional[_Union[Scope, str]] = ..., views: _Optional[_Iterable[_Union[View, str]]] = ...) -> None: ...

class CheckResponse(_message.Message):
    __slots__ = ("request_id", "decision_id", "decision", "candidates", "guards", "coverage", "provenance", "timing", "scores", "redacted_messages", "explanation")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    GUARDS_FIELD_NUMBER: _ClassVar[int]
    COVERAGE_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    REDACTED_MESSAGES_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    decision_id: str
    decision: _decision_pb2.Decision
    candidates: _containers.RepeatedCompositeFieldContainer[CandidateResult]
    guards: _containers.RepeatedCompositeFieldContainer[_decision_pb2.GuardResult]
    coverage: _decision_pb2.Coverage
    provenance: _decision_pb2.Provenance
    timing: _decision_pb2.Timing
    scores: _containers.RepeatedCompositeFieldContainer[_decision_pb2.Score]
    redacted_messages: _containers.RepeatedCompositeFieldContainer[_conversation_pb2.Message]
    explanation: _explanation_pb2.ExplanationView
    def __init__(self, request_id: _Optional[str] = ..., decision_id: _Optional[str] = ..., decision: _Optional[_Union[_decision_pb2.Decision, _Mapping]] = ..., candidates: _Optional[_Iterable[_Union[CandidateResult, _Mapping]]] = ..., guards: _Optional[_Iterable[_Union[_decision_pb2.GuardResult, _Mapping]]] = ..., coverage: _Optional[_Union[_decision_pb2.Coverage, _Mapping]] = ..., provenance: _Optional[_Union[_decision_pb2.Provenance, _Mapping]] = ..., timing: _Optional[_Union[_decision_pb2.Timing, _Mapping]] = ..., scores: _Optional[_Iterable[_Union[_decision_pb2.Score, _Mapping]]] = ..., redacted_messages: _Optional[_Iterable[_Union[_conversation_pb2.Message, _Mapping]]] = ..., explanation: _Optional[_Union[_explanation_pb2.ExplanationView, _Mapping]] = ...) -> None: ...

class CandidateResult(_message.Message):
    __slots__ = ("decision", "reward", "rank", "redacted")
    DECISION_FIELD_NUMBER: _ClassVar[int]
    REWARD_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    REDACTED_FIELD_NUMBER: _ClassVar[int]
    decision: _decision_pb2.Decision
    reward: float
    rank: int
    redacted: _conversation_pb2.Candidate
    def __init__(self, decision: _Optional[_Union[_decision_pb2.Decision, _Mapping]] = ..., reward: _Optional[float] = ..., rank: _Optional[int] = ..., redacted: _Optional[_Union[_conversation_pb2.Candidate, _Mapping]] = ...) -> None: ...

class BatchCheckRequest(_message.Message):
    __slots__ = ("requests",)
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[CheckRequest]
    def __init__(self, requests: _Optional[_Iterable[_Union[CheckRequest, _Mapping]]] = ...) -> None: ...

class BatchCheckResponse(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[BatchCheckItem]
    def __init__(self, items: _Optional[_Iterable[_Union[BatchCheckItem, _Mapping]]] = ...) -> None: ...

class BatchCheckItem(_message.Message):
    __slots__ = ("response", "error")
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    response: CheckResponse
    error: _status_pb2.ItemStatus
    def __init__(self, response: _Optional[_Union[CheckResponse, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.ItemStatus, _Mapping]] = ...) -> None: ...

class SamplingParameters(_message.Message):
    __slots__ = ("max_tokens", "temperature", "top_p", "top_k", "stop", "seed")
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TOP_P_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    max_tokens: int
    temperature: float
    top_p: float
    top_k: int
    stop: _containers.RepeatedScalarFieldContainer[str]
    seed: int
    def __init__(self, max_tokens: _Optional[int] = ..., temperature: _Optional[float] = ..., top_p: _Optional[float] = ..., top_k: _Optional[int] = ..., stop: _Optional[_Iterable[str]] = ..., seed: _Optional[int] = ...) -> None: ...

class GenerateRequest(_message.Message):
    __slots__ = ("request_id", "context", "policy", "messages", "sampling", "scope", "views")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    VIEWS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    context: _conversation_pb2.CallContext
    policy: str
    messages: _containers.RepeatedCompositeFieldContainer[_conversation_pb2.Message]
    sampling: SamplingParameters
    scope: Scope
    views: _containers.RepeatedScalarFieldContainer[View]
    def __init__(self, request_id: _Optional[str] = ..., context: _Optional[_Union[_conversation_pb2.CallContext, _Mapping]] = ..., policy: _Optional[str] = ..., messages: _Optional[_Iterable[_Union[_conversation_pb2.Message, _Mapping]]] = ..., sampling: _Optional[_Union[SamplingParameters, _Mapping]] = ..., scope: _Optional[_Union[Scope, str]] = ..., views: _Optional[_Iterable[_Union[View, str]]] = ...) -> None: ...

class Usage(_message.Message):
    __slots__ = ("prompt_tokens", "completion_tokens")
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_TOKENS_FIELD_NUMBER: _ClassVar[int]
    prompt_tokens: int
    completion_tokens: int
    def __init__(self, prompt_tokens: _Optional[int] = ..., completion_tokens: _Optional[int] = ...) -> None: ...

class GenerateResponse(_message.Message):
    __slots__ = ("request_id", "decision_id", "decision", "message", "finish_reason", "reward", "usage", "guards", "coverage", "provenance", "timing", "scores", "model", "attempts", "explanation")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FINISH_REASON_FIELD_NUMBER: _ClassVar[int]
    REWARD_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    GUARDS_FIELD_NUMBER: _ClassVar[int]
    COVERAGE_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    decision_id: str
    decision: _decision_pb2.Decision
    message: _conversation_pb2.Message
    finish_reason: FinishReason
    reward: float
    usage: Usage
    guards: _containers.RepeatedCompositeFieldContainer[_decision_pb2.GuardResult]
    coverage: _decision_pb2.Coverage
    provenance: _decision_pb2.Provenance
    timing: _decision_pb2.Timing
    scores: _containers.RepeatedCompositeFieldContainer[_decision_pb2.Score]
    model: str
    attempts: int
    explanation: _explanation_pb2.ExplanationView
    def __init__(self, request_id: _Optional[str] = ..., decision_id: _Optional[str] = ..., decision: _Optional[_Union[_decision_pb2.Decision, _Mapping]] = ..., message: _Optional[_Union[_conversation_pb2.Message, _Mapping]] = ..., finish_reason: _Optional[_Union[FinishReason, str]] = ..., reward: _Optional[float] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., guards: _Optional[_Iterable[_Union[_decision_pb2.GuardResult, _Mapping]]] = ..., coverage: _Optional[_Union[_decision_pb2.Coverage, _Mapping]] = ..., provenance: _Optional[_Union[_decision_pb2.Provenance, _Mapping]] = ..., timing: _Optional[_Union[_decision_pb2.Timing, _Mapping]] = ..., scores: _Optional[_Iterable[_Union[_decision_pb2.Score, _Mapping]]] = ..., model: _Optional[str] = ..., attempts: _Optional[int] = ..., explanation: _Optional[_Union[_explanation_pb2.ExplanationView, _Mapping]] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("request_id", "context", "policy", "decision_id", "messages", "response", "scope", "head", "method", "budget", "top_k", "attention", "generation")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    ATTENTION_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    context: _conversation_pb2.CallContext
    policy: str
    decision_id: str
    messages: _containers.RepeatedCompositeFieldContainer[_conversation_pb2.Message]
    response: _conversation_pb2.Candidate
    scope: Scope
    head: str
    method: str
    budget: _duration_pb2.Duration
    top_k: int
    attention: _explanation_pb2.AttentionSelection
    generation: _explanation_pb2.GenerationSelection
    def __init__(self, request_id: _Optional[str] = ..., context: _Optional[_Union[_conversation_pb2.CallContext, _Mapping]] = ..., policy: _Optional[str] = ..., decision_id: _Optional[str] = ..., messages: _Optional[_Iterable[_Union[_conversation_pb2.Message, _Mapping]]] = ..., response: _Optional[_Union[_conversation_pb2.Candidate, _Mapping]] = ..., scope: _Optional[_Union[Scope, str]] = ..., head: _Optional[str] = ..., method: _Optional[str] = ..., budget: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., top_k: _Optional[int] = ..., attention: _Optional[_Union[_explanation_pb2.AttentionSelection, _Mapping]] = ..., generation: _Optional[_Union[_explanation_pb2.GenerationSelection, _Mapping]] = ...) -> None: ...

class ExplainResponse(_message.Message):
    __slots__ = ("request_id", "explanation", "generation")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    explanation: _explanation_pb2.Explanation
    generation: _explanation_pb2.GenerationExplanation
    def __init__(self, request_id: _Optional[str] = ..., explanation: _Optional[_Union[_explanation_pb2.Explanation, _Mapping]] = ..., generation: _Optional[_Union[_explanation_pb2.GenerationExplanation, _Mapping]] = ...) -> None: ...
