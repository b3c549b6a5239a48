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

class ProbeRunState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PROBE_RUN_STATE_UNSPECIFIED: _ClassVar[ProbeRunState]
    PROBE_RUN_STATE_PENDING: _ClassVar[ProbeRunState]
    PROBE_RUN_STATE_RUNNING: _ClassVar[ProbeRunState]
    PROBE_RUN_STATE_PAUSED: _ClassVar[ProbeRunState]
    PROBE_RUN_STATE_DONE: _ClassVar[ProbeRunState]
    PROBE_RUN_STATE_FAILED: _ClassVar[ProbeRunState]
    PROBE_RUN_STATE_CANCELLED: _ClassVar[ProbeRunState]

class ProbeKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PROBE_KIND_UNSPECIFIED: _ClassVar[ProbeKind]
    PROBE_KIND_ATTACK: _ClassVar[ProbeKind]
    PROBE_KIND_BENIGN: _ClassVar[ProbeKind]
PROBE_RUN_STATE_UNSPECIFIED: ProbeRunState
PROBE_RUN_STATE_PENDING: ProbeRunState
PROBE_RUN_STATE_RUNNING: ProbeRunState
PROBE_RUN_STATE_PAUSED: ProbeRunState
PROBE_RUN_STATE_DONE: ProbeRunState
PROBE_RUN_STATE_FAILED: ProbeRunState
PROBE_RUN_STATE_CANCELLED: ProbeRunState
PROBE_KIND_UNSPECIFIED: ProbeKind
PROBE_KIND_ATTACK: ProbeKind
PROBE_KIND_BENIGN: ProbeKind

class ProbeSuite(_message.Message):
    __slots__ = ("name", "description", "digest", "seed", "probes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    PROBES_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    digest: str
    seed: int
    probes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., digest: _Optional[str] = ..., seed: _Optional[int] = ..., probes: _Optional[_Iterable[str]] = ...) -> None: ...

class DamagedProbeSuite(_message.Message):
    __slots__ = ("name", "fault")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FAULT_FIELD_NUMBER: _ClassVar[int]
    name: str
    fault: str
    def __init__(self, name: _Optional[str] = ..., fault: _Optional[str] = ...) -> None: ...

class ProbeRun(_message.Message):
    __slots__ = ("id", "suite", "state", "seed", "policy", "digests", "trigger", "created_at", "started_at", "finished_at", "units_total", "units_done", "spent", "budget", "skipped", "error", "results")
    class DigestsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class SkippedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    SUITE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    TRIGGER_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    FINISHED_AT_FIELD_NUMBER: _ClassVar[int]
    UNITS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    UNITS_DONE_FIELD_NUMBER: _ClassVar[int]
    SPENT_FIELD_NUMBER: _ClassVar[int]
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    id: str
    suite: str
    state: ProbeRunState
    seed: int
    policy: str
    digests: _containers.ScalarMap[str, str]
    trigger: str
    created_at: _timestamp_pb2.Timestamp
    started_at: _timestamp_pb2.Timestamp
    finished_at: _timestamp_pb2.Timestamp
    units_total: int
    units_done: int
    spent: _duration_pb2.Duration
    budget: _duration_pb2.Duration
    skipped: _containers.ScalarMap[str, str]
    error: str
    results: _containers.RepeatedCompositeFieldContainer[ProbeResult]
    def __init__(self, id: _Optional[str] = ..., suite: _Optional[str] = ..., state: _Optional[_Union[ProbeRunState, str]] = ..., seed: _Optional[int] = ..., policy: _Optional[str] = ..., digests: _Optional[_Mapping[str, str]] = ..., trigger: _Optional[str] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., finished_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., units_total: _Optional[int] = ..., units_done: _Optional[int] = ..., spent: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., budget: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., skipped: _Optional[_Mapping[str, str]] = ..., error: _Optional[str] = ..., results: _Optional[_Iterable[_Union[ProbeResult, _Mapping]]] = ...) -> None: ...

class ProbeParameter(_message.Message):
    __slots__ = ("text", "number")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    text: str
    number: float
    def __init__(self, text: _Optional[str] = ..., number: _Optional[float] = ...) -> None: ...

class ProbeEstimate(_message.Message):
    __slots__ = ("value", "low", "high")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    value: float
    low: float
    high: float
    def __init__(self, value: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ...) -> None: ...

class ProbeResult(_message.Message):
    __slots__ = ("probe", "target", "category", "kind", "parameters", "trials", "successes", "ratio", "low", "high", "skipped", "errors", "log_evidence", "tolerated", "clean_accuracy", "adversarial_accuracy", "accuracy_trials", "epsilon", "norm", "mean_value", "mean_low", "mean_high", "corrected")
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: ProbeParameter
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[ProbeParameter, _Mapping]] = ...) -> None: ...
    class SkippedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    PROBE_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    TRIALS_FIELD_NUMBER: _ClassVar[int]
    SUCCESSES_FIELD_NUMBER: _ClassVar[int]
    RATIO_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    LOG_EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    TOLERATED_FIELD_NUMBER: _ClassVar[int]
    CLEAN_ACCURACY_FIELD_NUMBER: _ClassVar[int]
    ADVERSARIAL_ACCURACY_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_TRIALS_FIELD_NUMBER: _ClassVar[int]
    EPSILON_FIELD_NUMBER: _ClassVar[int]
    NORM_FIELD_NUMBER: _ClassVar[int]
    MEAN_VALUE_FIELD_NUMBER: _ClassVar[int]
    MEAN_LOW_FIELD_NUMBER: _ClassVar[int]
    MEAN_HIGH_FIELD_NUMBER: _ClassVar[int]
    CORRECTED_FIELD_NUMBER: _ClassVar[int]
    probe: str
    target: str
    category: str
    kind: ProbeKind
    parameters: _containers.MessageMap[str, ProbeParameter]
    trials: int
    successes: int
    ratio: float
    low: float
    high: float
    skipped: _containers.ScalarMap[str, int]
    errors: int
    log_evidence: float
    tolerated: float
    clean_accuracy: float
    adversarial_accuracy: float
    accuracy_trials: int
    epsilon: float
    norm: str
    mean_value: float
    mean_low: float
    mean_high: float
    corrected: ProbeEstimate
    def __init__(self, probe: _Optional[str] = ..., target: _Optional[str] = ..., category: _Optional[str] = ..., kind: _Optional[_Union[ProbeKind, str]] = ..., parameters: _Optional[_Mapping[str, ProbeParameter]] = ..., trials: _Optional[int] = ..., successes: _Optional[int] = ..., ratio: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ..., skipped: _Optional[_Mapping[str, int]] = ..., errors: _Optional[int] = ..., log_evidence: _Optional[float] = ..., tolerated: _Optional[float] = ..., clean_accuracy: _Optional[float] = ..., adversarial_accuracy: _Optional[float] = ..., accuracy_trials: _Optional[int] = ..., epsilon: _Optional[float] = ..., norm: _Optional[str] = ..., mean_value: _Optional[float] = ..., mean_low: _Optional[float] = ..., mean_high: _Optional[float] = ..., corrected: _Optional[_Union[ProbeEstimate, _Mapping]] = ...) -> None: ...

class ListProbeSuitesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListProbeSuitesResponse(_message.Message):
    __slots__ = ("suites", "damaged")
    SUITES_FIELD_NUMBER: _ClassVar[int]
    DAMAGED_FIELD_NUMBER: _ClassVar[int]
    suites: _containers.RepeatedCompositeFieldContainer[ProbeSuite]
    damaged: _containers.RepeatedCompositeFieldContainer[DamagedProbeSuite]
    def __init__(self, suites: _Optional[_Iterable[_Union[ProbeSuite, _Mapping]]] = ..., damaged: _Optional[_Iterable[_Union[DamagedProbeSuite, _Mapping]]] = ...) -> None: ...

class StartProbeRunRequest(_message.Message):
    __slots__ = ("suite", "policy", "seed", "budget")
    SUITE_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    suite: str
    policy: str
    seed: int
    budget: _duration_pb2.Duration
    def __init__(self, suite: _Optional[str] = ..., policy: _Optional[str] = ..., seed: _Optional[int] = ..., budget: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class StartProbeRunResponse(_message.Message):
    __slots__ = ("run",)
    RUN_FIELD_NUMBER: _ClassVar[int]
    run: ProbeRun
    def __init__(self, run: _Optional[_Union[ProbeRun, _Mapping]] = ...) -> None: ...

class GetProbeRunRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class GetProbeRunResponse(_message.Message):
    __slots__ = ("run",)
    RUN_FIELD_NUMBER: _ClassVar[int]
    run: ProbeRun
    def __init__(self, run: _Optional[_Union[ProbeRun, _Mapping]] = ...) -> None: ...

class ListProbeRunsRequest(_message.Message):
    __slots__ = ("suite", "page_size", "page_token")
    SUITE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    suite: str
    page_size: int
    page_token: str
    def __init__(self, suite: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListProbeRunsResponse(_message.Message):
    __slots__ = ("runs", "next_page_token")
    RUNS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    runs: _containers.RepeatedCompositeFieldContainer[ProbeRun]
    next_page_token: str
    def __init__(self, runs: _Optional[_Iterable[_Union[ProbeRun, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class WatchProbeRunRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class WatchProbeRunResponse(_message.Message):
    __slots__ = ("run",)
    RUN_FIELD_NUMBER: _ClassVar[int]
    run: ProbeRun
    def __init__(self, run: _Optional[_Union[ProbeRun, _Mapping]] = ...) -> None: ...

class PauseProbeRunRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class PauseProbeRunResponse(_message.Message):
    __slots__ = ("run",)
    RUN_FIELD_NUMBER: _ClassVar[int]
    run: ProbeRun
    def __init__(self, run: _Optional[_Union[ProbeRun, _Mapping]] = ...) -> None: ...

class ResumeProbeRunRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class ResumeProbeRunResponse(_message.Message):
    __slots__ = ("run",)
    RUN_FIELD_NUMBER: _ClassVar[int]
    run: ProbeRun
    def __init__(self, run: _Optional[_Union[ProbeRun, _Mapping]] = ...) -> None: ...

class CancelProbeRunRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class CancelProbeRunResponse(_message.Message):
    __slots__ = ("run",)
    RUN_FIELD_NUMBER: _ClassVar[int]
    run: ProbeRun
    def __init__(self, run: _Optional[_Union[ProbeRun, _Mapping]] = ...) -> None: ...
