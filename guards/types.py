"""The nouns everybody shares. Frozen; free of transport, models and metrics.

Scores: `reward` is a raw logit in (-inf, inf), higher is better. `risk` is a calibrated
P(unsafe) in [0, 1], higher is worse. Offsets count Unicode code points of the text as the
caller sent it, end exclusive.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, IntEnum


class Role(Enum):
    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class Stage(Enum):
    """The side of the exchange a guard judges."""

    REQUEST = "request"
    RESPONSE = "response"


class Action(IntEnum):
    """What a policy does about a finding; a larger value outranks a smaller one."""

    ALLOW = 1
    FLAG = 2
    REDACT = 3
    REPLACE = 4
    REGENERATE = 5
    ESCALATE = 6
    BLOCK = 7

    @property
    def withholds(self) -> bool:
        """Whether the judged content must not reach the other side as it is or redacted."""
        return self >= Action.REPLACE


def action_by_name(name: str) -> Action:
    """The action a policy file calls `name`, in lower case. Raises ValueError listing the names."""
    for action in Action:
        if action.name.lower() == name:
            return action
    raise ValueError(f"no action '{name}'; one of {', '.join(a.name.lower() for a in Action)}")


class Enforcement(Enum):
    ENFORCED = "enforced"
    SHADOW = "shadow"


class Cause(Enum):
    """Why a decision has its action: never merge a policy's verdict with a failure."""

    POLICY = "policy"
    GUARD_FAILURE = "guard_failure"
    INCOMPLETE_COVERAGE = "incomplete_coverage"


class GuardStatus(Enum):
    OK = "ok"
    ERROR = "error"
    TIMEOUT = "timeout"
    SKIPPED = "skipped"


class FailMode(Enum):
    CLOSED = "closed"
    OPEN = "open"


class Scope(Enum):
    """Which messages the request guards judge."""

    NEW_TURNS = "new_turns"
    WHOLE_CONVERSATION = "whole_conversation"


@dataclass(frozen=True, slots=True)
class TextPart:
    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    call_id: str
    name: str
    arguments: str  # JSON text as the model wrote it


@dataclass(frozen=True, slots=True)
class ToolResult:
    call_id: str
    content: str


Part = TextPart | ToolCall | ToolResult


def part_text(part: Part) -> str:
    """The text of a part that guards judge and spans point into."""
    match part:
        case TextPart(text):
            return text
        case ToolCall(_, _, arguments):
            return arguments
        case ToolResult(_, content):
            return content


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    parts: tuple[Part, ...]
    name: str = ""

    @property
    def text(self) -> str:
        return "\n".join(part_text(part) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One response to judge, from the caller's model or from ours."""

    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        return "\n".join(part_text(part) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Span:
    """Code points [start, end) of the text of one part of one message.

    `message` indexes the request's messages, or is the candidate's index on the response side.
    """

    message: int
    part: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class RiskBound:
    """The promise behind a calibrated threshold: its false-block rate is at most `upper` <= `target`, in [0, 1]."""

    target: float
    upper: float
    n: int
    calibrated_at: datetime


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing a guard found. `risk` and `threshold` are probabilities in [0, 1].

    A rule that matches or does not has risk 1.0 and threshold 1.0; `raw_reward` is None unless
    a reward head produced the finding. `replacement` is what a REDACT writes over each span. `bound` is set
    only while a calibrated threshold keeps its promise. `reading`: how the text was read, as "base64", or "turns" for
    the user's turns together; then `turns` has the first message of each.
    """

    rule: str
    category: str
    action: Action
    risk: float = 1.0
    threshold: float = 1.0
    raw_reward: float | None = None
    spans: tuple[Span, ...] = ()
    replacement: str = ""
    bound: RiskBound | None = None
    reading: str = ""
    turns: tuple[int, ...] = ()


ERROR_TYPES = ("timeout", "scoring", "guard", "dependency", "memory", "internal")
"""How a guard fails."""


@dataclass(frozen=True, slots=True)
class GuardResult:
    """The outcome of one guard on one text; present in every reply, also when it failed."""

    guard: str
    stage: Stage
    status: GuardStatus
    findings: tuple[Finding, ...] = ()
    enforcement: Enforcement = Enforcement.ENFORCED
    fail_mode_applied: FailMode | None = None  # set only when status is ERROR or TIMEOUT
    error_type: str = ""  # of ERROR_TYPES, empty when it did not fail; never a message
    duration_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of the text the reward model saw. Tokens exclude special tokens and overlap."""

    tokens_total: int = 0
    tokens_scored: int = 0
    windows: int = 0

    @property
    def complete(self) -> bool:
        return self.tokens_scored >= self.tokens_total

    @property
    def share(self) -> float:
        """Of the tokens, [0, 1]; 1 when there are none."""
        return 1.0 if self.complete else self.tokens_scored / self.tokens_total

    def __add__(self, other: Coverage) -> Coverage:
        return Coverage(
            self.tokens_total + other.tokens_total,
            self.tokens_scored + other.tokens_scored,
            self.windows + other.windows,
        )


@dataclass(frozen=True, slots=True)
class HeadScore:
    """What one head says of one text: the worst of its windows.

    `start`, `end`: code points of that window in the text that was scored, before normalization.
    `reading`: how that window was read, as "base64"; empty for the text as it stands.
    `spread`: standard deviation of the ensemble's rewards, in units of reward; 0 for a single network.
    `risk_high`: the risk at a reward one spread lower; as good as `risk` for a single network.
    """

    head: str
    reward: float
    risk: float
    start: int
    end: int
    spread: float = 0.0
    risk_high: float = 0.0  # counts where it is above `risk`
    reading: str = ""


@dataclass(frozen=True, slots=True)
class ScoreTiming:
    """Seconds. `queue_s` and `forward_s` are the slowest of the text's windows."""

    tokenize_s: float = 0.0
    queue_s: float = 0.0
    forward_s: float = 0.0


@dataclass(frozen=True, slots=True)
class TextScores:
    """Every head that applies to one text, by head name, and the digest of the reward model that said so."""

    heads: Mapping[str, HeadScore]
    coverage: Coverage
    timing: ScoreTiming = field(default_factory=ScoreTiming)
    model_digest: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a policy made of the findings."""

    action: Action
    would_action: Action  # with every shadow guard and shadow policy enforced
    enforcement: Enforcement
    cause: Cause
    reason_code: str  # stable, low cardinality, without content
    safe_message: str = ""  # for the end user; empty unless content is withheld
    findings: tuple[Finding, ...] = ()
    redactions: tuple[tuple[Span, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Which reward model scored: digest is the sha256 of its manifest."""

    name: str
    version: str
    digest: str
    calibration: str
    normalizer: str
