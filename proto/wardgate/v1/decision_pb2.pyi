import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Action(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACTION_UNSPECIFIED: _ClassVar[Action]
    ACTION_ALLOW: _ClassVar[Action]
    ACTION_FLAG: _ClassVar[Action]
    ACTION_REDACT: _ClassVar[Action]
    ACTION_REPLACE: _ClassVar[Action]
    ACTION_REGENERATE: _ClassVar[Action]
    ACTION_ESCALATE: _ClassVar[Action]
    ACTION_BLOCK: _ClassVar[Action]

class Enforcement(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENFORCEMENT_UNSPECIFIED: _ClassVar[Enforcement]
    ENFORCEMENT_ENFORCED: _ClassVar[Enforcement]
    ENFORCEMENT_SHADOW: _ClassVar[Enforcement]

class Cause(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CAUSE_UNSPECIFIED: _ClassVar[Cause]
    CAUSE_POLICY: _ClassVar[Cause]
    CAUSE_GUARD_FAILURE: _ClassVar[Cause]
    CAUSE_INCOMPLETE_COVERAGE: _ClassVar[Cause]

class Stage(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STAGE_UNSPECIFIED: _ClassVar[Stage]
    STAGE_REQUEST: _ClassVar[Stage]
    STAGE_RESPONSE: _ClassVar[Stage]

class GuardStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GUARD_STATUS_UNSPECIFIED: _ClassVar[GuardStatus]
    GUARD_STATUS_OK: _ClassVar[GuardStatus]
    GUARD_STATUS_ERROR: _ClassVar[GuardStatus]
    GUARD_STATUS_TIMEOUT: _ClassVar[GuardStatus]
    GUARD_STATUS_SKIPPED: _ClassVar[GuardStatus]

class FailMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FAIL_MODE_UNSPECIFIED: _ClassVar[FailMode]
    FAIL_MODE_CLOSED: _ClassVar[FailMode]
    FAIL_MODE_OPEN: _ClassVar[FailMode]
ACTION_UNSPECIFIED: Action
ACTION_ALLOW: Action
ACTION_FLAG: Action
ACTION_REDACT: Action
ACTION_REPLACE: Action
ACTION_REGENERATE: Action
ACTION_ESCALATE: Action
ACTION_BLOCK: Action
ENFORCEMENT_UNSPECIFIED: Enforcement
ENFORCEMENT_ENFORCED: Enforcement
ENFORCEMENT_SHADOW: Enforcement
CAUSE_UNSPECIFIED: Cause
CAUSE_POLICY: Cause
CAUSE_GUARD_FAILURE: Cause
CAUSE_INCOMPLETE_COVERAGE: Cause
STAGE_UNSPECIFIED: Stage
STAGE_REQUEST: Stage
STAGE_RESPONSE: Stage
GUARD_STATUS_UNSPECIFIED: GuardStatus
GUARD_STATUS_OK: GuardStatus
GUARD_STATUS_ERROR: GuardStatus
GUARD_STATUS_TIMEOUT: GuardStatus
GUARD_STATUS_SKIPPED: GuardStatus
FAIL_MODE_UNSPECIFIED: FailMode
FAIL_MODE_CLOSED: FailMode
FAIL_MODE_OPEN: FailMode

class Decision(_message.Message):
    __slots__ = ("action", "would_action", "enforcement", "cause", "reason_code", "safe_message", "findings")
    ACTION_FIELD_NUMBER: _ClassVar[int]
    WOULD_ACTION_FIELD_NUMBER: _ClassVar[int]
    ENFORCEMENT_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    REASON_CODE_FIELD_NUMBER: _ClassVar[int]
    SAFE_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    action: Action
    would_action: Action
    enforcement: Enforcement
    cause: Cause
    reason_code: str
    safe_message: str
    findings: _containers.RepeatedCompositeFieldContainer[Finding]
    def __init__(self, action: _Optional[_Union[Action, str]] = ..., would_action: _Optional[_Union[Action, str]] = ..., enforcement: _Optional[_Union[Enforcement, str]] = ..., cause: _Optional[_Union[Cause, str]] = ..., reason_code: _Optional[str] = ..., safe_message: _Optional[str] = ..., findings: _Optional[_Iterable[_Union[Finding, _Mapping]]] = ...) -> None: ...

class Finding(_message.Message):
    __slots__ = ("rule", "category", "risk", "threshold", "raw_reward", "bound", "spans", "action", "reading")
    RULE_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    RISK_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    RAW_REWARD_FIELD_NUMBER: _ClassVar[int]
    BOUND_FIELD_NUMBER: _ClassVar[int]
    SPANS_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    READING_FIELD_NUMBER: _ClassVar[int]
    rule: str
    category: str
    risk: float
    threshold: float
    raw_reward: float
    bound: RiskBound
    spans: _containers.RepeatedCompositeFieldContainer[Span]
    action: Action
    reading: str
    def __init__(self, rule: _Optional[str] = ..., category: _Optional[str] = ..., risk: _Optional[float] = ..., threshold: _Optional[float] = ..., raw_reward: _Optional[float] = ..., bound: _Optional[_Union[RiskBound, _Mapping]] = ..., spans: _Optional[_Iterable[_Union[Span, _Mapping]]] = ..., action: _Optional[_Union[Action, str]] = ..., reading: _Optional[str] = ...) -> None: ...

class RiskBound(_message.Message):
    __slots__ = ("target", "upper", "n", "calibrated_at")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    UPPER_FIELD_NUMBER: _ClassVar[int]
    N_FIELD_NUMBER: _ClassVar[int]
    CALIBRATED_AT_FIELD_NUMBER: _ClassVar[int]
    target: float
    upper: float
    n: int
    calibrated_at: _timestamp_pb2.Timestamp
    def __init__(self, target: _Optional[float] = ..., upper: _Optional[float] = ..., n: _Optional[int] = ..., calibrated_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Span(_message.Message):
    __slots__ = ("message", "part", "start", "end")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    message: int
    part: int
    start: int
    end: int
    def __init__(self, message: _Optional[int] = ..., part: _Optional[int] = ..., start: _Optional[int] = ..., end: _Optional[int] = ...) -> None: ...

class GuardResult(_message.Message):
    __slots__ = ("guard", "stage", "candidate", "status", "fail_mode_applied", "error_type", "enforcement", "findings", "duration")
    GUARD_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    FAIL_MODE_APPLIED_FIELD_NUMBER: _ClassVar[int]
    ERROR_TYPE_FIELD_NUMBER: _ClassVar[int]
    ENFORCEMENT_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    guard: str
    stage: Stage
    candidate: int
    status: GuardStatus
    fail_mode_applied: FailMode
    error_type: str
    enforcement: Enforcement
    findings: _containers.RepeatedCompositeFieldContainer[Finding]
    duration: _duration_pb2.Duration
    def __init__(self, guard: _Optional[str] = ..., stage: _Optional[_Union[Stage, str]] = ..., candidate: _Optional[int] = ..., status: _Optional[_Union[GuardStatus, str]] = ..., fail_mode_applied: _Optional[_Union[FailMode, str]] = ..., error_type: _Optional[str] = ..., enforcement: _Optional[_Union[Enforcement, str]] = ..., findings: _Optional[_Iterable[_Union[Finding, _Mapping]]] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Score(_message.Message):
    __slots__ = ("head", "stage", "candidate", "reward", "risk", "spread")
    HEAD_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_FIELD_NUMBER: _ClassVar[int]
    REWARD_FIELD_NUMBER: _ClassVar[int]
    RISK_FIELD_NUMBER: _ClassVar[int]
    SPREAD_FIELD_NUMBER: _ClassVar[int]
    head: str
    stage: Stage
    candidate: int
    reward: float
    risk: float
    spread: float
    def __init__(self, head: _Optional[str] = ..., stage: _Optional[_Union[Stage, str]] = ..., candidate: _Optional[int] = ..., reward: _Optional[float] = ..., risk: _Optional[float] = ..., spread: _Optional[float] = ...) -> None: ...

class Coverage(_message.Message):
    __slots__ = ("tokens_total", "tokens_scored", "windows", "complete")
    TOKENS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    TOKENS_SCORED_FIELD_NUMBER: _ClassVar[int]
    WINDOWS_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    tokens_total: int
    tokens_scored: int
    windows: int
    complete: bool
    def __init__(self, tokens_total: _Optional[int] = ..., tokens_scored: _Optional[int] = ..., windows: _Optional[int] = ..., complete: bool = ...) -> None: ...

class Provenance(_message.Message):
    __slots__ = ("policy", "policy_version", "policy_digest", "reward_model", "reward_model_version", "reward_model_digest", "calibration", "normalizer", "further_models")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    POLICY_DIGEST_FIELD_NUMBER: _ClassVar[int]
    REWARD_MODEL_FIELD_NUMBER: _ClassVar[int]
    REWARD_MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    REWARD_MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    CALIBRATION_FIELD_NUMBER: _ClassVar[int]
    NORMALIZER_FIELD_NUMBER: _ClassVar[int]
    FURTHER_MODELS_FIELD_NUMBER: _ClassVar[int]
    policy: str
    policy_version: str
    policy_digest: str
    reward_model: str
    reward_model_version: str
    reward_model_digest: str
    calibration: str
    normalizer: str
    further_models: _containers.RepeatedCompositeFieldContainer[ScoringModel]
    def __init__(self, policy: _Optional[str] = ..., policy_version: _Optional[str] = ..., policy_digest: _Optional[str] = ..., reward_model: _Optional[str] = ..., reward_model_version: _Optional[str] = ..., reward_model_digest: _Optional[str] = ..., calibration: _Optional[str] = ..., normalizer: _Optional[str] = ..., further_models: _Optional[_Iterable[_Union[ScoringModel, _Mapping]]] = ...) -> None: ...

class ScoringModel(_message.Message):
    __slots__ = ("name", "version", "digest")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    digest: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., digest: _Optional[str] = ...) -> None: ...

class Timing(_message.Message):
    __slots__ = ("admission", "tokenize", "queue", "forward", "generate", "total")
    ADMISSION_FIELD_NUMBER: _ClassVar[int]
    TOKENIZE_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    FORWARD_FIELD_NUMBER: _ClassVar[int]
    GENERATE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    admission: _duration_pb2.Duration
    tokenize: _duration_pb2.Duration
    queue: _duration_pb2.Duration
    forward: _duration_pb2.Duration
    generate: _duration_pb2.Duration
    total: _duration_pb2.Duration
    def __init__(self, admission: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., tokenize: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., queue: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., forward: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., generate: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., total: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...
