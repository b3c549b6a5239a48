"""When a calibrated guard judges, and when it refuses to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from guards.errors import GuardError
from guards.normalize import NormalizedText, normalize
from guards.rewards.calibrated import CalibratedThreshold, Calibrations
from guards.rewards.guard import RewardGuard, RewardGuardConfig
from guards.types import Action, Coverage, HeadScore, Span, Stage, TextScores
from tests.calibrations import NOW, calibration
from tests.fakes import FAKE_MODEL

SECOND = timedelta(seconds=1)


@dataclass
class Scored:
    """A text of risk 0.8."""

    digest: str = FAKE_MODEL.digest
    stage: Stage = Stage.REQUEST
    text: NormalizedText = field(default_factory=lambda: normalize("text"))

    async def scores(self, head: str) -> TextScores:
        score = HeadScore("request_risk", reward=-1.4, risk=0.8, start=0, end=4)
        return TextScores({"request_risk": score}, Coverage(), model_digest=self.digest)

    def turns(self) -> None:
        return None

    def spans(self, start: int, end: int) -> tuple[Span, ...]:
        return (Span(0, 0, start, end),)


@dataclass
class Drifted:
    policies: Sequence[str]

    def drifted(self, policy: str, calibration: CalibratedThreshold) -> bool:
        return policy in self.policies


def guard(now: datetime = NOW, drifted: Sequence[str] = (), **more: object) -> RewardGuard:
    config = RewardGuardConfig.model_validate(
        {"name": "risk", "head": "request_risk", "thresholds": {"block": {"calibration": "shop"}}, **more}
    )
    known = Calibrations([calibration(expires=NOW)], drift=Drifted(drifted), now=lambda: now)
    return RewardGuard(config, "default", known)


async def test_it_judges_until_the_second_it_expires() -> None:
    (finding,) = await guard(NOW - SECOND).evaluate(Scored())
    assert (finding.threshold, finding.bound) == (0.7, calibration().risk_bound)
    with pytest.raises(GuardError, match=r"calibration 'shop' expired on .* run `wardgate calibrate`"):
        await guard(NOW).evaluate(Scored())
    (finding,) = await guard(NOW, on_expired="warn").evaluate(Scored())
    assert (finding.threshold, finding.bound) == (0.7, None)


async def test_drift_of_its_own_policy_is_what_counts() -> None:
    before = NOW - SECOND
    (finding,) = await guard(before, drifted=["another"], on_drift="fail_closed").evaluate(Scored())
    assert finding.bound is not None
    (finding,) = await guard(before, drifted=["default"]).evaluate(Scored())
    assert finding.bound is None
    with pytest.raises(GuardError, match="no longer looks like that of calibration 'shop'"):
        await guard(before, drifted=["default"], on_drift="fail_closed").evaluate(Scored())


@pytest.mark.parametrize("digest", ["", "a" * 64])
async def test_scores_of_an_unknown_model_are_not_judged(digest: str) -> None:
    with pytest.raises(GuardError, match="no calibration 'shop' for reward model"):
        await guard(NOW - SECOND).evaluate(Scored(digest))


async def test_a_guard_that_was_given_no_calibrations_fails_and_never_passes() -> None:
    config = RewardGuardConfig(name="risk", head="request_risk", thresholds={"block": {"calibration": "shop"}})  # type: ignore[dict-item]
    with pytest.raises(GuardError, match="no calibration 'shop'"):
        await RewardGuard(config).evaluate(Scored())


@dataclass
class Doubtful(Scored):
    """A text of risk 0.8 whose ensemble would also say `risk_high`."""

    risk_high: float = 0.0

    async def scores(self, head: str) -> TextScores:
        score = HeadScore(head, -1.4, 0.8, start=0, end=4, spread=0.7, risk_high=self.risk_high)
        return TextScores({head: score}, Coverage(), model_digest=self.digest)


@pytest.mark.parametrize(
    ("risk_high", "block_at", "when_uncertain", "action"),
    [
        (0.95, 0.9, "escalate", Action.ESCALATE),
        (0.9, 0.9, "flag", Action.FLAG),
        (0.89, 0.9, "escalate", None),
        (0.95, 0.9, None, None),
        (0.95, 0.8, "flag", Action.BLOCK),  # what a threshold says is never softened
    ],
)
async def test_doubt_that_reaches_over_the_threshold_has_its_own_action(
    risk_high: float, block_at: float, when_uncertain: str | None, action: Action | None
) -> None:
    config = RewardGuardConfig(
        name="risk", head="request_risk", thresholds={"block": block_at}, when_uncertain=when_uncertain
    )
    findings = await RewardGuard(config).evaluate(Doubtful(risk_high=risk_high))
    assert [finding.action for finding in findings] == ([action] if action else [])
    assert all(finding.risk == 0.8 and finding.threshold == block_at for finding in findings)


@pytest.mark.parametrize("name", ["allow", "redact", "shrug"])
def test_an_uncertain_text_is_not_given_an_action_that_makes_no_sense(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        RewardGuardConfig(name="risk", head="request_risk", thresholds={"block": 0.9}, when_uncertain=name)
