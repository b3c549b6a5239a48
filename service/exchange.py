"""One request and its outcome, as the pipeline sees them: no protobuf, no transport."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from guards.scripts import Script
from guards.types import (
    Candidate,
    Coverage,
    Decision,
    GuardResult,
    HeadScore,
    Message,
    ModelIdentity,
    Scope,
    ScoreTiming,
    Stage,
    TextScores,
)
from service.backends.base import FinishReason, SamplingParameters

if TYPE_CHECKING:
    from service.explaining.exchange import ExplanationView


class ModelRole(StrEnum):
    """What a version of the reward model does: decides for all, decides for a share, or only says what it would."""

    ACTIVE = "active"
    CANARY = "canary"
    SHADOW = "shadow"


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
    want_explanation: bool = False


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
    want_explanation: bool = False


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
class ModelScores:
    """What one model said of one text. `turns`: how much it saw of the user's turns beside it."""

    model: ModelIdentity
    text: TextScores
    turns: Coverage = field(default_factory=Coverage)

    @property
    def coverage(self) -> Coverage:
        return self.text.coverage + self.turns


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of one side's guards on one text. `scored`: the models asked that answered, the primary first."""

    stage: Stage
    decision: Decision
    guards: tuple[GuardResult, ...]
    scored: tuple[ModelScores, ...] = ()
    script: Script = Script.NONE  # of most letters

    @property
    def scores(self) -> Mapping[str, HeadScore]:
        """Every model's heads; the primary's first, also where names are the same."""
        merged: dict[str, HeadScore] = {}
        for by in self.scored:
            merged |= {name: score for name, score in by.text.heads.items() if name not in merged}
        return merged

    @property
    def coverage(self) -> Coverage:
        return least_complete(self.scored)

    @property
    def scoring_time(self) -> ScoreTiming:
        """The slowest model's, part by part."""
        parts = [by.text.timing for by in self.scored]
        return ScoreTiming(
            tokenize_s=max((part.tokenize_s for part in parts), default=0.0),
            queue_s=max((part.queue_s for part in parts), default=0.0),
            forward_s=max((part.forward_s for part in parts), default=0.0),
        )


def least_complete(scored: Sequence[ModelScores]) -> Coverage:
    """How much of a text every one of these models saw; the first one's when they saw the same share."""
    coverages = [by.coverage for by in scored]
    return min(coverages, key=lambda coverage: coverage.share, default=Coverage())


@dataclass(frozen=True, slots=True)
class Provenance:
    """What decided: `model` is the rolled-out reward model, in `role`; `others` are further models that scored."""

    policy: str
    policy_version: str
    policy_digest: str
    model: ModelIdentity
    role: ModelRole = ModelRole.ACTIVE
    others: tuple[ModelIdentity, ...] = ()


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
    explanation: ExplanationView | None = None


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
    explanation: ExplanationView | None = None
