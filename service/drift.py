"""Watches whether the texts that calibrated guards judge still look like those they were calibrated on.

Numbers only: a text adds one to a few counts. Of several candidates of one request only the first counts, since
they are not independent.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from guards.drift import FEATURES, Alarm, DriftTest, TextFeatures, Window, compare
from guards.policy import Policy
from guards.rewards.calibrated import CalibratedThreshold
from guards.rewards.guard import RewardGuard
from guards.types import Stage
from service.exchange import CheckCall, CheckResult, GenerateCall, GenerateResult

log = logging.getLogger(__name__)

_MOST_WAITING = 16  # full windows not yet compared; more are dropped, the oldest first


@dataclass(frozen=True, slots=True)
class WatchKey:
    """One calibration as one policy uses it, for one reward model. A new calibration is watched afresh."""

    policy: str
    calibration: str
    reward_model: str
    created: datetime


@dataclass(frozen=True, slots=True)
class WatchState:
    """`samples` texts are in the window that is filling; `tests` are of the last full one."""

    samples: int
    tests: tuple[DriftTest, ...]
    alarms: Mapping[str, bool]  # by feature


@dataclass(slots=True)
class _Watched:
    calibration: CalibratedThreshold
    stage: Stage
    window: Window
    tests: tuple[DriftTest, ...] = ()
    alarms: dict[str, Alarm] = field(default_factory=lambda: dict.fromkeys(FEATURES, Alarm()))

    @property
    def raised(self) -> dict[str, bool]:
        return {feature: alarm.raised for feature, alarm in self.alarms.items()}


class DriftMonitor:
    """Implements service.pipeline.Observer and guards.rewards.calibrated.DriftStatus.

    `window` is in texts; `false_alarms` is the chance that a window of unchanged traffic rejects. `on_compared` hears
    of every window that was compared.
    """

    def __init__(
        self,
        window: int,
        false_alarms: float,
        on_compared: Callable[[WatchKey, WatchState], None],
        seed: int = 0,
    ) -> None:
        self._size = window
        self._level = false_alarms
        self._on_compared = on_compared
        self._generator = np.random.default_rng(seed)
        self._watched: Mapping[WatchKey, _Watched] = {}
        self._full: deque[tuple[WatchKey, _Watched, Window]] = deque(maxlen=_MOST_WAITING)
        self._arrived = asyncio.Event()

    def policies_loaded(self, policies: Mapping[str, Policy]) -> None:
        """Watches what the policies use; what was watched before goes on."""
        watched: dict[WatchKey, _Watched] = {}
        for policy in policies.values():
            for member in (*policy.request, *policy.response):
                if isinstance(member.guard, RewardGuard):
                    for one in member.guard.calibrated():
                        key = _key(policy.name, one)
                        before = self._watched.get(key)
                        watched[key] = before or _Watched(one, member.stage, Window(one.reference))
        self._watched = watched

    def drifted(self, policy: str, calibration: CalibratedThreshold) -> bool:
        watched = self._watched.get(_key(policy, calibration))
        return watched is not None and any(watched.raised.values())

    def states(self) -> Mapping[WatchKey, WatchState]:
        return {key: _state(watched) for key, watched in self._watched.items()}

    def checked(self, call: CheckCall, result: CheckResult) -> None:
        self._observe(result)

    def generated(self, call: GenerateCall, result: GenerateResult) -> None:
        self._observe(result)

    async def watch(self) -> None:
        """Compares full windows, off the event loop, until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._full:
                key, watched, window = self._full.popleft()
                reference = watched.calibration.reference
                try:
                    tests = await asyncio.to_thread(compare, reference, window, self._level, self._generator)
                except Exception:
                    log.exception("a window was not compared", extra={"calibration": key.calibration})
                    continue
                if self._watched.get(key) is watched:  # else a reload put another in its place
                    self._conclude(key, watched, tests)

    def _observe(self, result: CheckResult | GenerateResult) -> None:
        verdicts = [result.request, *(candidate.verdict for candidate in result.candidates[:1])]
        by_stage = {verdict.stage: verdict for verdict in verdicts}
        for key, watched in self._watched.items():
            verdict = by_stage.get(watched.stage)
            if verdict is None or key.policy != result.provenance.policy:
                continue
            for by in verdict.scored:  # none where no guard asked, or the scorer failed
                score = by.text.heads.get(watched.calibration.head)
                if score is not None and by.model.digest == key.reward_model:
                    risk = watched.calibration.risk(score)
                    self._count(key, watched, TextFeatures(risk, by.text.coverage.tokens_total, verdict.script))

    def _count(self, key: WatchKey, watched: _Watched, features: TextFeatures) -> None:
        watched.window.add(features)
        if watched.window.size >= self._size:
            if len(self._full) == _MOST_WAITING:
                log.warning(
                    "a window was not compared, too many wait", extra={"calibration": self._full[0][0].calibration}
                )
            self._full.append((key, watched, watched.window))
            watched.window = Window(watched.calibration.reference)
            self._arrived.set()

    def _conclude(self, key: WatchKey, watched: _Watched, tests: tuple[DriftTest, ...]) -> None:
        watched.tests = tests
        for test in tests:
            before = watched.alarms[test.feature]
            after = watched.alarms[test.feature] = before.after(test.rejected)
            if after.raised != before.raised:
                log.warning(
                    "traffic drifted from its calibration"
                    if after.raised
                    else "traffic looks like its calibration again",
                    extra={
                        "policy": key.policy,
                        "calibration": key.calibration,
                        "feature": test.feature,
                        "p_value": test.p_value,
                        "psi": round(test.psi, 4),
                    },
                )
        self._on_compared(key, _state(watched))


def _state(watched: _Watched) -> WatchState:
    return WatchState(watched.window.size, watched.tests, watched.raised)


def _key(policy: str, one: CalibratedThreshold) -> WatchKey:
    return WatchKey(policy, one.name, one.reward_model, one.created)
