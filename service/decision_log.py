"""One log event per decision: identifiers, actions and durations; never text."""

from __future__ import annotations

import logging

from guards.types import Decision
from service.exchange import CheckCall, CheckResult, GenerateCall, GenerateResult
from service.metrics import Metrics

log = logging.getLogger("wardgate.decisions")


class DecisionLog:
    """Implements service.pipeline.Observer: logs, then counts."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def checked(self, call: CheckCall, result: CheckResult) -> None:
        self._metrics.checked(call, result)
        if log.isEnabledFor(logging.INFO):
            log.info("checked", extra=_fields(result, result.decision) | {"candidates": len(result.candidates)})

    def generated(self, call: GenerateCall, result: GenerateResult) -> None:
        self._metrics.generated(call, result)
        if log.isEnabledFor(logging.INFO):
            more = {"attempts": result.attempts, "completion_tokens": result.completion_tokens, "model": result.model}
            log.info("generated", extra=_fields(result, result.decision) | more)


def _fields(result: CheckResult | GenerateResult, decision: Decision) -> dict[str, object]:
    return {
        "request_id": result.request_id,
        "decision_id": result.decision_id,
        "policy": result.provenance.policy,
        "reward_model": result.provenance.model.digest,
        "role": result.provenance.role.value,
        "action": decision.action.name.lower(),
        "would_action": decision.would_action.name.lower(),
        "cause": decision.cause.value,
        "reason_code": decision.reason_code,
        "total_ms": round(result.timing.total_s * 1000, 2),
    }
