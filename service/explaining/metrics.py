"""The series of explanations."""

from __future__ import annotations

import asyncio

from prometheus_client import CollectorRegistry, Counter, Histogram

from guards.errors import DeadlineExceeded, InvalidInput, Overloaded, PreconditionFailed, Unavailable, UnknownName
from service.explaining.exchange import ExplainResult, GenerationExplanation

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_CHANGES = (-0.2, -0.1, 0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)


class ExplanationMetrics:
    """Implements service.explaining.explainer.ExplanationObserver."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._explanations = Counter(
            "wardgate_explanations_total", "Explanations, by method and how they ended.", ["method", "result"],
            registry=registry,
        )  # fmt: skip
        self._duration = Histogram(
            "wardgate_explanation_duration_seconds", "One explanation, its wait in the line aside.", ["method"],
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self._faithfulness = Histogram(
            "wardgate_explanation_faithfulness", "Change of the decision's probability as important tokens go.",
            ["method", "metric"], buckets=_CHANGES, registry=registry,
        )  # fmt: skip

    def explained(self, result: ExplainResult) -> None:
        if isinstance(result, GenerationExplanation):
            self._explanations.labels("generation", "done").inc()
            self._duration.labels("generation").observe(result.found.seconds)
            return
        found = result.found.explanation
        self._explanations.labels(found.method, "faithful" if found.faithful else "not_faithful").inc()
        self._duration.labels(found.method).observe(found.seconds)
        self._faithfulness.labels(found.method, "comprehensiveness").observe(found.faithfulness.comprehensiveness)
        self._faithfulness.labels(found.method, "sufficiency").observe(found.faithfulness.sufficiency)

    def failed(self, method: str, error: BaseException) -> None:
        """`method` is of the closed set by now."""
        self._explanations.labels(method, _outcome(error)).inc()


def _outcome(error: BaseException) -> str:
    match error:
        case InvalidInput() | UnknownName() | PreconditionFailed():
            return "refused"
        case Overloaded():
            return "overloaded"
        case DeadlineExceeded():
            return "late"
        case Unavailable():
            return "unavailable"
        case asyncio.CancelledError():
            return "left"
        case _:
            return "failed"
