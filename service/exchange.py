"""One request and its outcome, as the pipeline sees them: no protobuf, no transport."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from guards.scripts import Script
from guards.types import Candidate, Coverage, Decision, GuardResult, HeadScore, Message, ModelIdentity, Scope, Stage
from service.backends.base import FinishReason, SamplingParameters


@dataclass(frozen=True, slots=True)
class CallContext:
    """Where a call comes from, as the caller states it."""

    app: str = ""
    route: str = ""
    tenant: str = ""
    session_id: str = ""
    user_hash: str = ""
    locale: str = ""


@dataclass(frozen=True, slots=True)
class CheckCall:
    """`deadline` is in `time.monotonic()` seconds."""

    request_id: str
    deadline: float
    messages: tuple[Message, ...]
    candidates: tuple[Candidate, ...] = ()
    policy: str = ""
    context: CallContext = CallContext()
    scope: Scope = Scope.NEW_TURNS
    want_scores: bool = False


@dataclass(frozen=True, slots=True)
class GenerateCall:
    """`deadline` is in `time.monotonic()` seconds."""

    request_id: str
    deadline: float
    messages: tuple[Message, ...]
    sampling: SamplingParameters
    policy: str = ""
    context: CallContext = CallContext()
    scope: Scope = Scope.NEW_TURNS
    want_scores: bool = False


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds; tokenize, queue and forward are the slowest text's."""

    admission_s: float = 0.0
    tokenize_s: float = 0.0
    queue_s: float = 0.0
    forward_s: float = 0.0
    generate_s: float = 0.0
    total_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of one side's guards on one text. `scores` is empty when no guard asked for them."""

    stage: Stage
    decision: Decision
    guards: tuple[GuardResult, ...]
    coverage: Coverage = field(default_factory=Coverage)
    scores: Mapping[str, HeadScore] = field(default_factory=dict)
    timing: Timing = Timing()
    script: Script = Script.NONE


@dataclass(frozen=True, slots=True)
class Provenance:
    policy: str
    policy_version: str
    policy_digest: str
    model: ModelIdentity


@dataclass(frozen=True, slots=True)
class RankedCandidate:
    """`rank` 1 is the best by reward among those not withheld; 0 when withheld."""

    verdict: Verdict
    reward: float | None
    rank: int
    redacted: Candidate | None = None


@dataclass(frozen=True, slots=True)
class CheckResult:
    request_id: str
    decision_id: str
    decision: Decision
    request: Verdict
    candidates: tuple[RankedCandidate, ...]
    provenance: Provenance
    timing: Timing
    redacted_messages: tuple[Message, ...] = ()


@dataclass(frozen=True, slots=True)
class GenerateResult:
    """`answer` is None when the response is withheld; then the decision's safe message stands for it."""

    request_id: str
    decision_id: str
    decision: Decision
    request: Verdict
    candidates: tuple[RankedCandidate, ...]
    skipped: tuple[GuardResult, ...]
    answer: Candidate | None
    reward: float | None
    finish_reason: FinishReason | None
    prompt_tokens: int
    completion_tokens: int
    attempts: int
    model: str
    provenance: Provenance
    timing: Timing
