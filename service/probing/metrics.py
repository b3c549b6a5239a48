"""The series of probes. Gauges show the last run of each suite that was done, and are restored from the store.

Attacks and harmless use are series of their own everywhere: a guard that withholds everything resists every attack.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from guards.probes.base import ProbeKind
from guards.probes.records import UnitOutcome
from guards.probes.results import TOLERATED, Result
from guards.probes.statistics.anytime import log_evidence
from guards.probes.statistics.curve import halving_strength
from guards.probes.statistics.ratio import wilson
from service.probing.results import rows_from_json
from service.store.probe_records import ProbeRun

_CATEGORY = ("suite", "category", "kind")


@dataclass(frozen=True, slots=True)
class _Done:
    """A run that is done."""

    finished_s: float  # since 1970
    rows: tuple[Result, ...]


@dataclass(frozen=True, slots=True)
class _Pooled:
    """Rows of one category and kind, added up."""

    category: str
    kind: ProbeKind
    successes: int
    trials: int


Sample = tuple[tuple[str, ...], float]
Read = Callable[[str, _Done], Iterator[Sample]]


@dataclass(frozen=True, slots=True)
class _Shown:
    """The samples of every gauge, by its name: worked out once, not with every scrape."""

    finished_s: float
    samples: Mapping[str, Mapping[tuple[str, ...], float]]


class ProbeMetrics(Collector):
    def __init__(self, registry: CollectorRegistry) -> None:
        self._shown: Mapping[str, _Shown] = {}  # by suite; replaced whole: a scrape on another thread sees one of both
        registry.register(self)
        self._trials = Counter(
            "wardgate_probe_trials_total", "Trials of probes that count.", _CATEGORY, registry=registry
        )
        self._successes = Counter(
            "wardgate_probe_successes_total", "Trials in which an attack got through, or harmless use was hurt.",
            _CATEGORY, registry=registry,
        )  # fmt: skip
        self._runs = Counter(
            "wardgate_probe_runs_total", "Runs of probes that ended.", ["suite", "result"], registry=registry
        )
        self._budget = Counter(
            "wardgate_probe_budget_seconds_total", "CPU time that units of probes took.", registry=registry
        )
        self.preemptions = Counter(
            "wardgate_probe_preemptions_total", "Times that probes were stopped for live requests.", registry=registry
        )

        self._interval = Gauge(
            "wardgate_probe_interval_seconds", "Longest time between two runs that the schedules plan.", ["suite"],
            registry=registry,
        )  # fmt: skip

    def scheduled(self, suite: str, interval_s: float) -> None:
        """`interval_s`: as its schedules say, in seconds."""
        self._interval.labels(suite).set(interval_s)
        for result in ("done", "failed"):  # from zero, or Prometheus misses the first one
            self._runs.labels(suite, result)

    def unit_done(self, suite: str, outcome: UnitOutcome) -> None:
        self._budget.inc(outcome.seconds)
        for measured in outcome.measured:
            labels = (suite, measured.setting.category, measured.setting.kind.value)
            counted = [trial for trial in measured.trials if not trial.skipped]
            self._trials.labels(*labels).inc(len(counted))
            self._successes.labels(*labels).inc(sum(trial.success for trial in counted))

    def run_ended(self, suite: str, result: str) -> None:
        self._runs.labels(suite, result).inc()

    def show(self, run: ProbeRun) -> None:
        """Of a run that is done; takes the place of an older one of its suite."""
        assert run.finished_at is not None
        done, before = _Done(run.finished_at.timestamp(), rows_from_json(run.results)), self._shown.get(run.suite)
        if before is None or before.finished_s < done.finished_s:
            # As a mapping: Prometheus refuses a page that has one series twice.
            samples = {name: dict(read(run.suite, done)) for name, _, _, read in _GAUGES}
            self._shown = {**self._shown, run.suite: _Shown(done.finished_s, samples)}

    def collect(self) -> Iterable[Metric]:
        """For Prometheus."""
        shown = self._shown
        for name, text, labels, _ in _GAUGES:
            family = GaugeMetricFamily(f"wardgate_probe_{name}", text, labels=list(labels))
            for suite in shown.values():
                for values, value in suite.samples[name].items():
                    family.add_metric(list(values), value)
            yield family


def _pooled(rows: Sequence[Result]) -> Iterator[_Pooled]:
    for category, kind in sorted({(row.category, row.kind) for row in rows if row.trials}):
        alike = [row for row in rows if (row.category, row.kind) == (category, kind)]
        yield _Pooled(category, kind, sum(row.successes for row in alike), sum(row.trials for row in alike))


def _finished(suite: str, done: _Done) -> Iterator[Sample]:
    yield (suite,), done.finished_s


def _ratios(pick: Callable[[_Pooled], float]) -> Read:
    def read(suite: str, done: _Done) -> Iterator[Sample]:
        for one in _pooled(done.rows):
            yield (suite, one.category, one.kind.value), pick(one)

    return read


def _accuracy(suite: str, done: _Done) -> Iterator[Sample]:
    for row in _perturbed(done.rows):
        labels = (suite, row.target, _attack(row), row.norm or "", f"{row.epsilon:g}")
        if row.clean_accuracy is not None:
            yield (*labels, "clean"), row.clean_accuracy
        if row.adversarial_accuracy is not None:
            yield (*labels, "adversarial"), row.adversarial_accuracy


def _eps50(suite: str, done: _Done) -> Iterator[Sample]:
    """Where accuracy falls to half of the clean one; no sample where it never does."""
    rows = [row for row in _perturbed(done.rows) if row.adversarial_accuracy is not None]
    for key, group in groupby(sorted(rows, key=_curve), key=_curve):
        points = {row.epsilon: row.adversarial_accuracy for row in sorted(group, key=lambda row: row.epsilon or 0)}
        clean = next(
            (row.clean_accuracy for row in rows if _curve(row) == key and row.clean_accuracy is not None), None
        )
        if clean is not None:
            points = {0.0: clean, **points}
        if len(points) > 1 and (half := halving_strength(*_axes(points))) is not None:
            yield (suite, *key), half


def _axes(points: Mapping[float | None, float | None]) -> tuple[list[float], list[float]]:
    return [strength or 0.0 for strength in points], [accuracy or 0.0 for accuracy in points.values()]


def _curve(row: Result) -> tuple[str, str, str]:
    return row.target, _attack(row), row.norm or ""


def _perturbed(rows: Sequence[Result]) -> list[Result]:
    return [row for row in rows if row.epsilon is not None]


def _attack(row: Result) -> str:
    return str(row.parameters.get("attack", row.probe))


def _flips(suite: str, done: _Done) -> Iterator[Sample]:
    for row in done.rows:
        if row.ratio is not None and {"transformation", "severity"} <= row.parameters.keys():
            perturbation, severity = row.parameters["transformation"], row.parameters["severity"]
            yield (suite, row.probe, row.target, str(perturbation), f"{severity:g}", row.kind.value), row.ratio


def _attack_success(suite: str, done: _Done) -> Iterator[Sample]:
    for row in done.rows:
        if row.target in ("model", "system") and row.kind is ProbeKind.ATTACK and row.ratio is not None:
            judge = str(row.parameters.get("judge", ""))
            best = row.corrected  # without the judge's errors, where there is a judge
            figures = (best.value, best.low, best.high) if best else (row.ratio, row.low, row.high)
            for bound, value in zip(("value", "lower", "upper"), figures, strict=True):
                yield (suite, row.probe, _attack(row), row.target, judge, bound), value


def _over_refusal(suite: str, done: _Done) -> Iterator[Sample]:
    for row in done.rows:
        if row.category == "over-refusal" and row.ratio is not None:
            yield (suite, row.probe, row.target), row.ratio


def _invariance(suite: str, done: _Done) -> Iterator[Sample]:
    for row in done.rows:
        if row.category == "invariance" and row.ratio is not None:
            yield (suite, row.probe, row.target, str(row.parameters.get("change", "")), row.kind.value), row.ratio


def _fairness(suite: str, done: _Done) -> Iterator[Sample]:
    for row in done.rows:
        if row.category == "fairness" and row.mean_value is not None:
            yield (suite, row.probe, row.target, str(row.parameters.get("attribute", ""))), row.mean_value


def _length_slope(suite: str, done: _Done) -> Iterator[Sample]:
    for row in done.rows:
        if row.category == "length-bias" and row.mean_value is not None:
            yield (suite, row.probe, row.target), row.mean_value


# Every gauge: its name, what it says, its labels, and where its samples come from.
_GAUGES: tuple[tuple[str, str, tuple[str, ...], Read], ...] = (
    ("success_ratio", "Successes over trials.", _CATEGORY, _ratios(lambda one: one.successes / one.trials)),
    ("ratio_lower", "Lower end of the ratio's 95% interval.", _CATEGORY,
     _ratios(lambda one: wilson(one.successes, one.trials).low)),
    ("ratio_upper", "Upper end of the ratio's 95% interval.", _CATEGORY,
     _ratios(lambda one: wilson(one.successes, one.trials).high)),
    ("log_evidence", "Logarithm of the evidence that the ratio is over what is tolerated.", _CATEGORY,
     _ratios(lambda one: log_evidence(one.successes, one.trials, TOLERATED[one.kind]))),
    ("last_success_timestamp_seconds", "When a run was last done.", ("suite",), _finished),
    ("accuracy", "Share of right answers before and under a perturbation.",
     ("suite", "target", "attack", "norm", "eps", "kind"), _accuracy),
    ("eps50", "Perturbation that halves the accuracy.", ("suite", "target", "attack", "norm"), _eps50),
    ("flip_ratio", "Share of right answers that a perturbation turns.",
     ("suite", "probe", "target", "perturbation", "severity", "kind"), _flips),
    ("attack_success_ratio", "Share of attacks on the wrapped model that succeed.",
     ("suite", "probe", "attack", "scope", "judge", "bound"), _attack_success),
    ("over_refusal_ratio", "Share of harmless requests that are refused.", ("suite", "probe", "target"), _over_refusal),
    ("invariance_failure_ratio", "Share of verdicts that change where they must not.",
     ("suite", "probe", "target", "change", "kind"), _invariance),
    ("fairness_gap", "Mean distance between groups, of the same text.", ("suite", "probe", "target", "attribute"),
     _fairness),
    ("reward_length_slope", "Change of the reward with the length of a text.", ("suite", "probe", "target"),
     _length_slope),
)  # fmt: skip
