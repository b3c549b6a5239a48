"""Every Prometheus metric but the rollout's, the calibrations' and the probes'. Observed once, from results.

Labels come from closed sets.

Names and units: docs/metrics.md. A Metrics object owns its registry, so that a process may hold
several, and gauges read the live objects, so that a reload leaves none behind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from guards.errors import BACKEND_FAULTS, reasons
from guards.policy import Policy, PolicyGuard
from guards.rewards.guard import RewardGuard
from guards.types import (
    ERROR_TYPES,
    Action,
    Coverage,
    Decision,
    Enforcement,
    FailMode,
    GuardResult,
    GuardStatus,
    Stage,
)
from service.batcher import BatchReport
from service.calibration_metrics import CalibrationMetrics
from service.exchange import CheckCall, CheckResult, GenerateCall, GenerateResult, Timing, Verdict
from service.explaining.metrics import ExplanationMetrics
from service.probing.metrics import ProbeMetrics
from service.rollout.metrics import RolloutMetrics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_LATENCY = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_RISK = tuple(i / 20 for i in range(1, 21))
_REWARD = (-12.0, -8.0, -6.0, -4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0)
_TOKENS = (8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384, 65536)


@dataclass(frozen=True, slots=True)
class LiveGauge:
    """A figure read when Prometheus asks."""

    name: str
    help: str
    read: Callable[[], float]


class Metrics:
    """Implements service.pipeline.Observer."""

    def __init__(self, version: str) -> None:
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self._define_traffic()
        self._define_guards()
        self._define_scores()
        self._define_batches()
        self._define_config()
        self.rollout = RolloutMetrics(self.registry)
        self.calibrations = CalibrationMetrics(self.registry)
        self.probes = ProbeMetrics(self.registry)
        self.explanations = ExplanationMetrics(self.registry)
        self.build_info.labels(version).set(1)
        self._begin_at_zero()

    def render(self) -> bytes:
        return generate_latest(self.registry)

    def watch(self, gauges: Sequence[LiveGauge]) -> None:
        for gauge in gauges:
            Gauge(gauge.name, gauge.help, registry=self.registry).set_function(gauge.read)

    def checked(self, call: CheckCall, result: CheckResult) -> None:
        policy = result.provenance.policy
        verdicts = [result.request, *(candidate.verdict for candidate in result.candidates)]
        for verdict in verdicts:
            self._judged(policy, verdict)
        self.rollout.scored(result.provenance, result.decision.action)
        self.languages.labels(result.request.script.value).inc()
        self._added_latency("check", result.timing)
        self.request_duration.labels("check").observe(result.timing.total_s)

    def generated(self, call: GenerateCall, result: GenerateResult) -> None:
        policy = result.provenance.policy
        verdicts = [result.request, *(candidate.verdict for candidate in result.candidates)]
        for verdict in verdicts:
            self._judged(policy, verdict)
        self.rollout.scored(result.provenance, result.decision.action)
        for skipped in result.skipped:
            self._guard(skipped)
        self.languages.labels(result.request.script.value).inc()
        self._added_latency("generate", result.timing)
        self.request_duration.labels("generate").observe(result.timing.total_s)
        self.generated_tokens.labels(result.model, "prompt").inc(result.prompt_tokens)
        self.generated_tokens.labels(result.model, "completion").inc(result.completion_tokens)
        if result.attempts:
            self.generate_duration.labels(result.model).observe(result.timing.generate_s)

    def batched(self, report: BatchReport) -> None:
        """One forward of the batcher."""
        self.batches.labels(report.outcome).inc()
        self.batch_size.observe(report.items)
        self.batch_tokens.observe(report.tokens)
        if report.padded_tokens:
            self.batch_padding.observe(1 - report.tokens / report.padded_tokens)
        self.forward_duration.observe(report.forward_s)
        for waited_s in report.queue_s:
            self.queue_wait.observe(waited_s)

    def further_batched(self, model: str, report: BatchReport) -> None:
        """One forward of a model beside the reward model."""
        self.further_forward.labels(model).observe(report.forward_s)

    def policies_loaded(self, policies: Mapping[str, Policy], ok: bool) -> None:
        """The policies in force after a load; a refused file leaves the old ones and counts as an error."""
        self.policy_reloads.labels("ok" if ok else "error").inc()
        self.policy_info.clear()
        self.threshold.clear()
        self.calibrations.policies_loaded(policies)
        for policy in policies.values():
            self.policy_info.labels(policy.name, policy.version, policy.digest).set(1)
            for member in (*policy.request, *policy.response):
                self._may_fail(member)
                if isinstance(member.guard, RewardGuard):
                    for rung in member.guard.serving_rungs():
                        labels = (policy.name, member.guard.head, rung.action.name.lower())
                        self.threshold.labels(*labels).set(rung.threshold)
        self.policy_files_valid.set(ok)
        if ok:
            self.policy_loaded.set_to_current_time()

    def _begin_at_zero(self) -> None:
        """Prometheus sees no increase in a series that begins at one: the first fault would raise no alarm."""
        for reason in reasons():
            self.rejections.labels(reason.lower())
        for fault in BACKEND_FAULTS:
            self.backend_errors.labels(fault)
        for result in ("ok", "error"):
            self.policy_reloads.labels(result)
        self.incomplete.labels("max_windows")

    def _may_fail(self, member: PolicyGuard) -> None:
        if member.enforcement is Enforcement.SHADOW:
            return
        for error_type in ERROR_TYPES:
            self.fail_open.labels(member.guard.name, error_type)
            self.fail_closed.labels(member.guard.name, error_type)

    def _judged(self, policy: str, verdict: Verdict) -> None:
        stage = verdict.stage.value
        self._decided(policy, verdict.stage, verdict.decision)
        for result in verdict.guards:
            self._guard(result)
        for by in verdict.scored:
            for score in by.text.heads.values():
                self.risk.labels(policy, score.head, stage).observe(score.risk)
                self.reward.labels(by.model.name, stage).observe(score.reward)
        self._covered(stage, verdict.coverage)

    def _decided(self, policy: str, stage: Stage, decision: Decision) -> None:
        self.requests.labels(
            policy, stage.value, decision.action.name.lower(), decision.enforcement.value, decision.cause.value
        ).inc()
        if decision.would_action is not decision.action:
            self.would_actions.labels(policy, stage.value, decision.would_action.name.lower()).inc()

    def _guard(self, result: GuardResult) -> None:
        stage = result.stage.value
        self.evaluations.labels(result.guard, stage, _outcome(result)).inc()
        if result.status is not GuardStatus.SKIPPED:
            self.evaluation_duration.labels(result.guard, stage).observe(result.duration_s)
        if result.enforcement is Enforcement.SHADOW:
            return  # its failure withheld nothing and let nothing through
        if result.fail_mode_applied is FailMode.OPEN:
            self.fail_open.labels(result.guard, result.error_type).inc()
        elif result.fail_mode_applied is FailMode.CLOSED:
            self.fail_closed.labels(result.guard, result.error_type).inc()

    def _covered(self, stage: str, coverage: Coverage) -> None:
        if not coverage.windows:
            return
        self.input_tokens.labels(stage).observe(coverage.tokens_total)
        self.windows.observe(coverage.windows)
        if not coverage.complete:
            self.incomplete.labels("max_windows").inc()
            self.unscored_tokens.inc(coverage.tokens_total - coverage.tokens_scored)

    def _added_latency(self, stage: str, timing: Timing) -> None:
        """What the guardrail costs the caller: everything but the wrapped model's own time."""
        self.added_latency.labels(stage).observe(max(0.0, timing.total_s - timing.generate_s))

    def _define_traffic(self) -> None:
        r = self.registry
        self.grpc_started = Counter(
            "grpc_server_started_total", "RPCs begun.", ["grpc_service", "grpc_method"], registry=r
        )
        self.grpc_handled = Counter(
            "grpc_server_handled_total", "RPCs ended.", ["grpc_service", "grpc_method", "grpc_code"], registry=r
        )
        self.grpc_duration = Histogram(
            "grpc_server_handling_seconds", "Duration of RPCs.", ["grpc_service", "grpc_method"],
            buckets=_LATENCY, registry=r,
        )  # fmt: skip
        self.requests = Counter(
            "wardgate_requests_total", "Texts judged, by what was decided.",
            ["policy", "stage", "action", "enforcement", "cause"], registry=r,
        )  # fmt: skip
        self.would_actions = Counter(
            "wardgate_shadow_actions_total", "Texts that shadow guards or policies would have treated otherwise.",
            ["policy", "stage", "action"], registry=r,
        )  # fmt: skip
        self.request_duration = Histogram(
            "wardgate_request_duration_seconds", "Inside the server.", ["stage"], buckets=_LATENCY, registry=r
        )
        self.added_latency = Histogram(
            "wardgate_added_latency_seconds", "Inside the server, the wrapped model's time aside.", ["stage"],
            buckets=_LATENCY, registry=r,
        )  # fmt: skip
        self.rejections = Counter(
            "wardgate_rejections_total", "Requests refused or failed before a decision.", ["reason"], registry=r
        )
        self.generated_tokens = Counter(
            "wardgate_model_tokens_total", "Tokens of the wrapped model.", ["model", "kind"], registry=r
        )
        self.generate_duration = Histogram(
            "wardgate_generate_duration_seconds", "In the wrapped model, all attempts of a request.", ["model"],
            buckets=_LATENCY, registry=r,
        )  # fmt: skip
        self.backend_errors = Counter(
            "wardgate_backend_errors_total", "Failures of the wrapped model.", ["kind"], registry=r
        )

    def _define_guards(self) -> None:
        r = self.registry
        self.evaluations = Counter(
            "wardgate_guard_evaluations_total", "What each guard found.", ["guard", "stage", "result"], registry=r
        )
        self.evaluation_duration = Histogram(
            "wardgate_guard_evaluation_duration_seconds", "One guard on one text, its wait for scores included.",
            ["guard", "stage"], buckets=_LATENCY, registry=r,
        )  # fmt: skip
        self.fail_open = Counter(
            "wardgate_fail_open_total", "Texts passed though a guard failed.", ["guard", "error_type"], registry=r
        )
        self.fail_closed = Counter(
            "wardgate_fail_closed_total", "Texts withheld because a guard failed.", ["guard", "error_type"], registry=r
        )

    def _define_scores(self) -> None:
        r = self.registry
        self.risk = Histogram(
            "wardgate_risk_score", "Calibrated P(unsafe).", ["policy", "head", "stage"], buckets=_RISK, registry=r
        )
        self.threshold = Gauge(
            "wardgate_threshold", "Risk from which an action applies.", ["policy", "head", "action"], registry=r
        )
        self.reward = Histogram(
            "wardgate_reward", "Raw reward, higher is better.", ["model", "stage"], buckets=_REWARD, registry=r
        )
        self.input_tokens = Histogram(
            "wardgate_input_tokens", "Tokens of judged texts.", ["stage"], buckets=_TOKENS, registry=r
        )
        self.windows = Histogram(
            "wardgate_windows", "Windows of judged texts.", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256), registry=r
        )
        self.incomplete = Counter(
            "wardgate_incomplete_coverage_total", "Texts not scored whole.", ["reason"], registry=r
        )
        self.unscored_tokens = Counter("wardgate_unscored_tokens_total", "Tokens never scored.", registry=r)
        self.languages = Counter(
            "wardgate_requests_by_language_total", "Requests by the script they are written in.", ["lang"], registry=r
        )

    def _define_batches(self) -> None:
        r = self.registry
        self.batches = Counter("wardgate_batches_total", "Forwards of the reward model.", ["outcome"], registry=r)
        self.batch_size = Histogram(
            "wardgate_batch_size", "Windows of one forward.", buckets=(1, 2, 4, 8, 16, 32, 64), registry=r
        )
        self.batch_tokens = Histogram(
            "wardgate_batch_tokens", "Real tokens of one forward.", buckets=_TOKENS, registry=r
        )
        self.batch_padding = Histogram(
            "wardgate_batch_padding_ratio", "Share of a forward that was padding.",
            buckets=(0.01, 0.02, 0.05, 0.08, 0.12, 0.2, 0.5), registry=r,
        )  # fmt: skip
        self.forward_duration = Histogram(
            "wardgate_forward_duration_seconds", "One forward of the reward model.", buckets=_LATENCY, registry=r
        )
        self.queue_wait = Histogram(
            "wardgate_queue_wait_seconds", "A window's wait for its forward.", buckets=_LATENCY, registry=r
        )
        self.further_forward = Histogram(
            "wardgate_further_forward_duration_seconds", "One forward of a model beside the reward model.",
            ["model"], buckets=_LATENCY, registry=r,
        )  # fmt: skip

    def _define_config(self) -> None:
        r = self.registry
        self.build_info = Gauge("wardgate_build_info", "The running version.", ["version"], registry=r)
        self.policy_info = Gauge(
            "wardgate_policy_info", "Policies in force.", ["policy", "version", "digest"], registry=r
        )
        self.policy_reloads = Counter(
            "wardgate_policy_reloads_total", "Loads of the policy files.", ["result"], registry=r
        )
        self.policy_loaded = Gauge(
            "wardgate_policy_loaded_timestamp_seconds", "When every policy file was last valid.", registry=r
        )
        self.policy_files_valid = Gauge(
            "wardgate_policy_files_valid", "0 while a policy or calibration file is refused.", registry=r
        )
        self.component_ready = Gauge(
            "wardgate_component_ready", "1 when a component can serve.", ["component"], registry=r
        )


_WORDS = {
    Action.ALLOW: "allowed",
    Action.FLAG: "flagged",
    Action.REDACT: "redacted",
    Action.REPLACE: "replaced",
    Action.REGENERATE: "regenerated",
    Action.ESCALATE: "escalated",
    Action.BLOCK: "blocked",
}


def _outcome(result: GuardResult) -> str:
    """A guard's outcome as one word; in shadow, what it would have done."""
    if result.status is not GuardStatus.OK:
        return str(result.status.value)
    strongest = max((finding.action for finding in result.findings), default=Action.ALLOW)
    if result.enforcement is Enforcement.SHADOW and strongest > Action.FLAG:
        return f"would_{strongest.name.lower()}"
    return _WORDS[strongest]
