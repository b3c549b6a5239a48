"""The metrics of calibrations and of drift from them; part of service.metrics.Metrics."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge

from guards.policy import Policy
from guards.rewards.calibrated import CalibratedThreshold
from guards.rewards.guard import RewardGuard
from service.drift import WatchKey, WatchState


class CalibrationMetrics:
    """`model` labels are the first twelve digits of a reward model's digest."""

    def __init__(self, registry: CollectorRegistry) -> None:
        r = registry
        one = ["calibration", "model"]
        self.risk_target = Gauge(
            "wardgate_risk_target", "False-block rate that a calibrated guard aims at.", ["policy", "guard", "model"],
            registry=r,
        )  # fmt: skip
        self.risk_upper_bound = Gauge(
            "wardgate_risk_upper_bound", "Upper confidence bound of its false-block rate.",
            ["policy", "guard", "model"], registry=r,
        )  # fmt: skip
        self.calibration_error = Gauge(
            "wardgate_calibration_error", "Expected calibration error of risks.", [*one, "head"], registry=r
        )
        self.calibration_samples = Gauge("wardgate_calibration_samples", "Texts calibrated on.", one, registry=r)
        self.calibration_created = Gauge(
            "wardgate_calibration_timestamp_seconds", "When it was calibrated.", one, registry=r
        )
        self.calibration_expires = Gauge(
            "wardgate_calibration_expires_timestamp_seconds", "From when it is void.", one, registry=r
        )
        self.calibration_expired = Gauge("wardgate_calibration_expired", "1 when its date has passed.", one, registry=r)
        self._of_calibrations = (
            self.risk_target, self.risk_upper_bound, self.calibration_error, self.calibration_samples,
            self.calibration_created, self.calibration_expires, self.calibration_expired,
        )  # fmt: skip
        watched = ["policy", *one]
        self.drift_statistic = Gauge(
            "wardgate_drift_statistic", "The last window against its calibration.", [*watched, "feature", "test"],
            registry=r,
        )  # fmt: skip
        self.drift_alarm = Gauge(
            "wardgate_drift_alarm", "1 while traffic has drifted from its calibration.", [*watched, "feature"],
            registry=r,
        )  # fmt: skip
        self.drift_samples = Gauge(
            "wardgate_drift_window_samples", "Texts in the window that is filling.", watched, registry=r
        )
        self.drift_windows = Counter(
            "wardgate_drift_windows_total", "Full windows compared.", ["policy", "calibration", "result"], registry=r
        )

    def policies_loaded(self, policies: Mapping[str, Policy]) -> None:
        """Shows the calibrations that policies use, and no other."""
        for gauge in self._of_calibrations:
            gauge.clear()
        for policy in policies.values():
            for member in (*policy.request, *policy.response):
                if isinstance(member.guard, RewardGuard):
                    for one in member.guard.calibrated():
                        self._calibrated(policy.name, member.guard.name, one)

    def watch_drift(self, states: Callable[[], Mapping[WatchKey, WatchState]]) -> None:
        """Shows what is watched now, and nothing that no longer is."""
        for gauge in (self.drift_statistic, self.drift_alarm, self.drift_samples):
            gauge.clear()
        for key, state in states().items():
            self._drift(key, state)
            fill = self.drift_samples.labels(key.policy, key.calibration, key.reward_model[:12])
            fill.set_function(partial(_samples, states, key))

    def drift_compared(self, key: WatchKey, state: WatchState) -> None:
        """A full window was held against its calibration."""
        result = "rejected" if any(test.rejected for test in state.tests) else "alike"
        self.drift_windows.labels(key.policy, key.calibration, result).inc()
        self._drift(key, state)

    def _drift(self, key: WatchKey, state: WatchState) -> None:
        watched = (key.policy, key.calibration, key.reward_model[:12])
        for test in state.tests:
            self.drift_statistic.labels(*watched, test.feature, "psi").set(test.psi)
            self.drift_statistic.labels(*watched, test.feature, "p_value").set(test.p_value)
        for feature, raised in state.alarms.items():
            self.drift_alarm.labels(*watched, feature).set(raised)

    def _calibrated(self, policy: str, guard: str, one: CalibratedThreshold) -> None:
        model, expires = one.reward_model[:12], one.expires.timestamp()
        self.risk_target.labels(policy, guard, model).set(one.alpha)
        self.risk_upper_bound.labels(policy, guard, model).set(one.bound)
        self.calibration_samples.labels(one.name, model).set(one.n)
        self.calibration_created.labels(one.name, model).set(one.created.timestamp())
        self.calibration_expires.labels(one.name, model).set(expires)
        self.calibration_expired.labels(one.name, model).set_function(lambda: time.time() >= expires)
        if one.calibration_error:
            self.calibration_error.labels(one.name, model, one.head).set(one.calibration_error.value)


def _samples(states: Callable[[], Mapping[WatchKey, WatchState]], key: WatchKey) -> float:
    state = states().get(key)
    return state.samples if state else 0
