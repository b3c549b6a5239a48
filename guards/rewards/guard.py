"""A guard that compares one head's calibrated risk with thresholds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from guards.base import Subject
from guards.errors import GuardError
from guards.types import Action, Finding, action_by_name

Risk = Annotated[float, Field(gt=0.0, le=1.0)]


class RewardGuardConfig(BaseModel):
    """`thresholds` maps an action to the risk from which it applies, both sides inclusive."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    head: str
    thresholds: Mapping[str, Risk] = Field(min_length=1)

    @field_validator("thresholds")
    @classmethod
    def _known_actions(cls, thresholds: Mapping[str, float]) -> Mapping[str, float]:
        for name in thresholds:
            if action_by_name(name) in (Action.ALLOW, Action.REDACT):
                raise ValueError(f"a whole text cannot be given the action '{name}' by its risk")
        return thresholds


class RewardGuard:
    uses_scores = True

    def __init__(self, config: RewardGuardConfig) -> None:
        self.name = config.name
        self.head = config.head
        rungs = [(action_by_name(name), risk) for name, risk in config.thresholds.items()]
        self.rungs = tuple(sorted(rungs, reverse=True))  # the strongest action first

    async def evaluate(self, subject: Subject) -> tuple[Finding, ...]:
        scores = await subject.scores(self.head)
        score = scores.heads.get(self.head)
        if score is None:
            raise GuardError(f"head '{self.head}' does not judge the {subject.stage.value} side")
        if not math.isfinite(score.risk):  # NaN would be under every threshold
            raise GuardError(f"head '{self.head}' gave a risk that is not a finite number")
        for action, threshold in self.rungs:
            if score.risk >= threshold:
                finding = Finding(
                    rule=self.name,
                    category=self.head,
                    action=action,
                    risk=score.risk,
                    threshold=threshold,
                    raw_reward=score.reward,
                    spans=subject.spans(score.start, score.end),
                )
                return (finding,)
        return ()
