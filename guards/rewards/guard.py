"""A guard that compares one head's risk with thresholds: numbers, or those of a calibration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from guards.base import Subject
from guards.errors import GuardError
from guards.rewards.calibrated import CalibratedThreshold, CalibrationName, Calibrations
from guards.types import Action, Finding, HeadScore, RiskBound, action_by_name

Risk = Annotated[float, Field(gt=0.0, le=1.0)]
Void = Literal["warn", "fail_closed"]
TURNS = "turns"  # the reading of what a user says over several turns


class CalibratedBy(BaseModel):
    """A threshold that `wardgate calibrate` chose."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    calibration: CalibrationName


def _kind_of_threshold(value: Any) -> str:
    return "by calibration" if isinstance(value, dict | CalibratedBy) else "number"


Threshold = Annotated[
    Annotated[Risk, Tag("number")] | Annotated[CalibratedBy, Tag("by calibration")], Discriminator(_kind_of_threshold)
]


class RewardGuardConfig(BaseModel):
    """`thresholds` maps an action to the risk from which it applies, both sides inclusive.

    `when_uncertain` is the action for a text under the strongest threshold that one standard deviation of the
    ensemble's rewards would take over it; it never softens what a threshold says.

    `on_expired`, `on_drift`: what it means that a calibration's promise no longer holds. `fail_closed`
    is an error of the guard; `warn` goes on with the threshold and no longer claims the bound
    (docs/adr/006).

    `turns`: whether a request is also judged together with what the user said before it (docs/adr/013).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    head: str
    thresholds: Mapping[str, Threshold] = Field(min_length=1)
    when_uncertain: str | None = None
    on_expired: Void = "fail_closed"
    on_drift: Void = "warn"
    turns: bool = True

    @field_validator("when_uncertain")
    @classmethod
    def _known_action(cls, name: str | None) -> str | None:
        if name is not None and action_by_name(name) in (Action.ALLOW, Action.REDACT):
            raise ValueError(f"an uncertain text cannot be given the action '{name}'")
        return name

    @field_validator("thresholds")
    @classmethod
    def _known_actions(cls, thresholds: Mapping[str, Threshold]) -> Mapping[str, Threshold]:
        for name in thresholds:
            if action_by_name(name) in (Action.ALLOW, Action.REDACT):
                raise ValueError(f"a whole text cannot be given the action '{name}' by its risk")
        return thresholds

    @model_validator(mode="after")
    def _one_calibration(self) -> RewardGuardConfig:
        if sum(isinstance(threshold, CalibratedBy) for threshold in self.thresholds.values()) > 1:
            raise ValueError("one guard has one calibrated threshold; give the other a guard of its own")
        return self


@dataclass(frozen=True, slots=True)
class Rung:
    """An action and the risk from which it applies; `bound` is the promise behind a calibrated one."""

    action: Action
    threshold: float
    bound: RiskBound | None = None


class RewardGuard:
    """`policy` and `calibrations` matter only to a calibrated threshold; without them it fails, never passes."""

    uses_scores = True

    def __init__(self, config: RewardGuardConfig, policy: str = "", calibrations: Calibrations | None = None) -> None:
        self.name = config.name
        self.head = config.head
        thresholds = [(action_by_name(name), threshold) for name, threshold in config.thresholds.items()]
        self._thresholds = sorted(thresholds, key=lambda item: item[0], reverse=True)  # the strongest action first
        named = [threshold.calibration for _, threshold in thresholds if isinstance(threshold, CalibratedBy)]
        self.calibration = named[0] if named else None  # its name
        self._when_uncertain = action_by_name(config.when_uncertain) if config.when_uncertain else None
        self._on_expired = config.on_expired
        self._on_drift = config.on_drift
        self.reads_turns = config.turns
        self.policy = policy
        self._calibrations = calibrations or Calibrations()

    def calibrated(self) -> tuple[CalibratedThreshold, ...]:
        """Its calibration, for every reward model that has one."""
        return self._calibrations.named(self.calibration) if self.calibration else ()

    def serving_rungs(self) -> tuple[Rung, ...]:
        """Those that apply to the reward model that usually scores; empty when its calibration is not known."""
        serving = self._calibrations.serving_one(self.calibration) if self.calibration else None
        return self.rungs(serving) if serving or not self.calibration else ()

    def calibration_for(self, reward_model: str) -> CalibratedThreshold | None:
        """None when every threshold is a number. Raises GuardError when there is none for that reward model."""
        if self.calibration is None:
            return None
        found = self._calibrations.find(self.calibration, reward_model)
        if found is None:
            raise GuardError(
                f"there is no calibration '{self.calibration}' for reward model {reward_model[:12] or 'unknown'};"
                " run `wardgate calibrate` with that model"
            )
        return found

    def rungs(self, calibration: CalibratedThreshold | None) -> tuple[Rung, ...]:
        """The strongest action first. `calibration` is what `calibration_for` gave."""
        return tuple(
            Rung(action, calibration.threshold, calibration.risk_bound)
            if calibration and isinstance(threshold, CalibratedBy)
            else Rung(action, _number(threshold))
            for action, threshold in self._thresholds
        )

    async def evaluate(self, subject: Subject) -> tuple[Finding, ...]:
        alone = await self._judge(subject)
        if not self.reads_turns or (alone and alone.action is self._thresholds[0][0]):
            return (alone,) if alone else ()
        found = [one for one in (alone, await self._judge_turns(subject)) if one]
        return (max(found, key=lambda one: (one.action, one.risk)),) if found else ()

    async def _judge_turns(self, subject: Subject) -> Finding | None:
        """What the user says over several turns, the newest completing it. A bound is promised for single texts."""
        turns = subject.turns()
        found = await self._judge(turns.subject) if turns else None
        if turns is None or found is None:
            return None
        counted = await turns.counted(self._withholds)
        if counted is None:
            return None
        if counted is not turns:
            found = await self._judge(counted.subject)
        reading = ",".join(filter(None, (TURNS, found.reading if found else "")))
        return replace(found, reading=reading, turns=counted.messages, bound=None) if found else None

    async def _withholds(self, subject: Subject) -> bool:
        found = await self._judge(subject)
        return found is not None and found.action.withholds

    async def _judge(self, subject: Subject) -> Finding | None:
        scores = await subject.scores(self.head)
        score = scores.heads.get(self.head)
        if score is None:
            raise GuardError(f"head '{self.head}' does not judge the {subject.stage.value} side")
        calibration = self.calibration_for(scores.model_digest)
        promised = calibration is not None and self._keeps_its_promise(calibration)
        risk = calibration.risk(score) if calibration else score.risk
        if not math.isfinite(risk):  # NaN would be under every threshold
            raise GuardError(f"head '{self.head}' gave a risk that is not a finite number")
        rungs = self.rungs(calibration)
        reached = next((rung for rung in rungs if risk >= rung.threshold), None)
        doubted = self._doubted(rungs[0], score, risk, calibration)
        rung = max((one for one in (reached, doubted) if one), key=lambda one: one.action, default=None)
        if rung is None:
            return None
        return Finding(
            rule=self.name,
            category=self.head,
            action=rung.action,
            risk=risk,
            threshold=rung.threshold,
            raw_reward=score.reward,
            spans=subject.spans(score.start, score.end),
            bound=rung.bound if promised and rung is reached else None,
            reading=score.reading,
        )

    def _doubted(
        self, strongest: Rung, score: HeadScore, risk: float, calibration: CalibratedThreshold | None
    ) -> Rung | None:
        """What the policy does with a text that the ensemble's doubt would take over the strongest threshold."""
        if self._when_uncertain is None or risk >= strongest.threshold:
            return None
        worse = replace(score, reward=score.reward - score.spread, risk=max(score.risk, score.risk_high))
        high = calibration.risk(worse) if calibration else worse.risk
        return Rung(self._when_uncertain, strongest.threshold) if high >= strongest.threshold else None

    def _keeps_its_promise(self, calibration: CalibratedThreshold) -> bool:
        """False when it is void and the policy goes on with it. Raises GuardError where the policy does not."""
        expired = self._calibrations.now() >= calibration.expires
        if expired and self._on_expired == "fail_closed":
            raise GuardError(
                f"calibration '{calibration.name}' expired on {calibration.expires:%Y-%m-%d};"
                " run `wardgate calibrate` on new traffic, or set on_expired: warn"
            )
        drifted = self._calibrations.drift.drifted(self.policy, calibration)
        if drifted and self._on_drift == "fail_closed":
            raise GuardError(
                f"traffic no longer looks like that of calibration '{calibration.name}';"
                " run `wardgate calibrate` on new traffic, or set on_drift: warn"
            )
        return not expired and not drifted


def head_risk(score: HeadScore) -> float:
    """The head's own risk, as guards without a calibration judge it."""
    return score.risk


def _number(threshold: float | CalibratedBy) -> float:
    if isinstance(threshold, CalibratedBy):
        raise GuardError(f"calibration '{threshold.calibration}' was not looked up")
    return threshold
