"""The operator's policy: which guards on which side, their thresholds, and what failure means.

A policy is one YAML file, validated whole before it serves. See docs/policies.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, ValidationError, field_validator, model_validator

from guards.base import Guard
from guards.errors import ConfigError
from guards.registry import guard_kinds
from guards.rewards.calibrated import Calibrations
from guards.rewards.guard import RewardGuard, RewardGuardConfig
from guards.types import Action, Enforcement, FailMode, Stage

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$")]
EnforcementName = Literal["enforce", "shadow"]
FailModeName = Literal["closed", "open"]

_COMMON_KEYS = frozenset({"kind", "name", "enforcement", "on_error", "timeout_s"})


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class OnError(_Frozen):
    """What a guard's failure means, per kind of failure; closed withholds the content."""

    timeout: FailModeName = "closed"
    error: FailModeName = "closed"

    def mode(self, error_type: str) -> FailMode:
        return FailMode(self.timeout if error_type == "timeout" else self.error)


class GuardSpec(_Frozen):
    """One guard of a policy: keys common to all kinds, and the kind's own `settings`.

    In the file both stand side by side.
    """

    name: Name
    kind: str
    enforcement: EnforcementName = "enforce"
    timeout_s: Annotated[float, Field(gt=0, le=300)] = 10.0
    on_error: OnError = OnError()
    settings: SerializeAsAny[BaseModel]

    @model_validator(mode="before")
    @classmethod
    def _split_settings(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "settings" in data:
            raise ValueError("a guard is a mapping with `kind`, `name` and the kind's settings")
        kinds = guard_kinds()
        kind = str(data.get("kind"))
        if kind not in kinds:
            raise ValueError(f"no guard kind of that name; known: {', '.join(sorted(kinds))}")
        own = {key: value for key, value in data.items() if key not in _COMMON_KEYS}
        settings = kinds[kind].config.model_validate({"name": data.get("name"), **own})
        return {key: data[key] for key in data if key in _COMMON_KEYS} | {"settings": settings}

    @field_validator("on_error", mode="before")
    @classmethod
    def _one_mode_for_all(cls, value: Any) -> Any:
        return {"timeout": value, "error": value} if isinstance(value, str) else value


class CoverageRule(_Frozen):
    """What to do when a text has more windows than the scorer takes."""

    on_incomplete: Literal["block", "flag"] = "block"


class GenerateRule(_Frozen):
    """`candidates` responses are generated at once and the best by `rank_by` is chosen.

    A REGENERATE verdict asks the model again, at most `max_regenerations` times, then blocks.
    """

    candidates: Annotated[int, Field(ge=1, le=8)] = 1
    max_regenerations: Annotated[int, Field(ge=0, le=4)] = 1


class PolicyFile(_Frozen):
    name: Name
    version: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    description: str = ""
    enforcement: EnforcementName = "enforce"
    request: tuple[GuardSpec, ...] = ()
    response: tuple[GuardSpec, ...] = ()
    coverage: CoverageRule = CoverageRule()
    generate: GenerateRule = GenerateRule()
    rank_by: str = "response_reward"
    safe_messages: Mapping[str, str] = {"en": "I can't help with that."}

    @field_validator("version", mode="before")
    @classmethod
    def _quote_me(cls, value: Any) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool):
            raise ValueError('quote the version, as in version: "1"')
        return value

    @model_validator(mode="after")
    def _consistent(self) -> PolicyFile:
        if not self.request and not self.response:
            raise ValueError("a policy without guards would allow everything; name at least one")
        for side in (self.request, self.response):
            names = [spec.name for spec in side]
            if len(set(names)) != len(names):
                raise ValueError("two guards of one side have the same name")
        if "en" not in self.safe_messages:
            raise ValueError('safe_messages needs "en", the fallback for every locale')
        return self


@dataclass(frozen=True, slots=True)
class PolicyGuard:
    """A guard as a policy employs it."""

    guard: Guard
    stage: Stage
    enforcement: Enforcement
    timeout_s: float
    on_error: OnError


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy in force. `digest` is the sha256 of its file."""

    name: str
    version: str
    digest: str
    enforcement: Enforcement
    request: tuple[PolicyGuard, ...]
    response: tuple[PolicyGuard, ...]
    incomplete: Action
    candidates: int
    max_regenerations: int
    rank_by: str
    safe_messages: Mapping[str, str]

    def guards(self, stage: Stage) -> tuple[PolicyGuard, ...]:
        return self.request if stage is Stage.REQUEST else self.response

    @property
    def reads_turns(self) -> bool:
        """Whether a guard judges what the user says over several turns."""
        return any(isinstance(member.guard, RewardGuard) and member.guard.reads_turns for member in self.request)

    def safe_message(self, locale: str) -> str:
        """In the locale's language if the policy has it, else English."""
        language = locale.split("-")[0].lower()
        return self.safe_messages.get(locale) or self.safe_messages.get(language) or self.safe_messages["en"]


def withholding_risk(policy: Policy, head: str) -> float | None:
    """The risk from which the policy withholds by `head`, of its first guard that does; None when none does.

    A calibrated threshold is that of the reward model that usually scores, and none when it has no calibration.
    """
    for member in (*policy.request, *policy.response):
        guard = member.guard
        if isinstance(guard, RewardGuard) and guard.head == head:
            return min((rung.threshold for rung in guard.serving_rungs() if rung.action.withholds), default=None)
    return None


def load_policy(path: Path, heads: Mapping[str, frozenset[Stage]], calibrations: Calibrations | None = None) -> Policy:
    """Reads, validates and builds the policy in `path`.

    `heads`: the models' heads and the sides each judges. `calibrations`: those that calibrated thresholds
    must find; None does not look, and such a guard then fails on every text. Raises ConfigError naming the file, the
    place and the mend.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        content = yaml.safe_load(raw)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date that is none is a ValueError
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    try:
        document = PolicyFile.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{path}: {describe(error)}") from error
    try:
        return _build(document, hashlib.sha256(raw).hexdigest(), heads, calibrations)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def describe(error: ValidationError) -> str:
    """Each fault of a file as `place: what`, without the values."""
    faults = [f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors(include_input=False)]
    return "; ".join(faults)


def _build(
    document: PolicyFile, digest: str, heads: Mapping[str, frozenset[Stage]], calibrations: Calibrations | None
) -> Policy:
    def built(specs: Sequence[GuardSpec], stage: Stage) -> tuple[PolicyGuard, ...]:
        return tuple(_build_guard(spec, stage, heads, document.name, calibrations) for spec in specs)

    return Policy(
        name=document.name,
        version=document.version,
        digest=digest,
        enforcement=_enforcement(document.enforcement),
        request=built(document.request, Stage.REQUEST),
        response=built(document.response, Stage.RESPONSE),
        incomplete=Action.BLOCK if document.coverage.on_incomplete == "block" else Action.FLAG,
        candidates=document.generate.candidates,
        max_regenerations=document.generate.max_regenerations,
        rank_by=document.rank_by,
        safe_messages=document.safe_messages,
    )


def _build_guard(
    spec: GuardSpec, stage: Stage, heads: Mapping[str, frozenset[Stage]], policy: str, calibrations: Calibrations | None
) -> PolicyGuard:
    if isinstance(spec.settings, RewardGuardConfig):
        guard: Guard = _reward_guard(spec.settings, stage, heads, policy, calibrations)
    else:
        guard = guard_kinds()[spec.kind].build(spec.settings)
    return PolicyGuard(guard, stage, _enforcement(spec.enforcement), spec.timeout_s, spec.on_error)


def _reward_guard(
    config: RewardGuardConfig,
    stage: Stage,
    heads: Mapping[str, frozenset[Stage]],
    policy: str,
    calibrations: Calibrations | None,
) -> RewardGuard:
    guard = RewardGuard(config, policy, calibrations)
    if stage not in heads.get(guard.head, frozenset()):
        fitting = ", ".join(sorted(head for head, sides in heads.items() if stage in sides)) or "none"
        raise ConfigError(
            f"guard '{guard.name}': head '{guard.head}' does not judge the {stage.value} side; these do: {fitting}"
        )
    if guard.calibration is not None and calibrations is not None:
        try:
            calibrations.require(guard.calibration, guard.head)
        except ConfigError as error:
            raise ConfigError(f"guard '{guard.name}': {error}") from error
    return guard


def _enforcement(name: EnforcementName) -> Enforcement:
    return Enforcement.ENFORCED if name == "enforce" else Enforcement.SHADOW
