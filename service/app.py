"""The composition root: builds everything from the settings, and owns every task."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version

from guards.policy import Policy
from guards.rewards.reward_model import RewardModel
from service.admission import Admission
from service.backends.base import Backend, SamplingParameters
from service.calibrations import CalibrationStore
from service.config import NoBackend, OpenAISettings, SamplingDefaults, Settings, TransformersSettings
from service.decision_log import DecisionLog
from service.drift import DriftMonitor
from service.explaining.explainer import Explainer
from service.explaining.explanations import Explanations
from service.explaining.opening import child_settings, explainable_generator
from service.explaining.process import ExplainingProcess
from service.further_models import FurtherModels
from service.http import HttpServer
from service.interceptors import Authentication, Failures
from service.metrics import LiveGauge, Metrics
from service.models import ModelCache
from service.observers import Observers
from service.pipeline import Pipeline
from service.policies import PolicyStore, watch_policies
from service.probing.probing import Probing
from service.probing.process import WORKER
from service.reward_models import configured_artefact
from service.rollout.changes import RolloutChanges
from service.rollout.loaded import ModelOpener
from service.rollout.rollout import Rollout
from service.rollout.shadow import Shadows
from service.server import REWARD_MODEL, UPSTREAM, Server, Servicer
from service.servicers.guardrail import GuardrailServicer
from service.servicers.probes import ProbeServicer
from service.servicers.reward_models import RewardModelServicer

log = logging.getLogger(__name__)

_HEALTH_PERIOD_S = 1.0
_LAG_PERIOD_S = 0.5


class App:
    """Everything, wired and not yet running. Raises ConfigError or ModelError before any port opens.

    `model` stands for the configured reward model, when the caller has it in memory already; `probe_worker` is the
    command of the process that does the probes.
    """

    def __init__(
        self, settings: Settings, model: RewardModel | None = None, probe_worker: Sequence[str] = WORKER
    ) -> None:
        self.settings = settings
        # Before a model is loaded, whose threads a refusal would leave behind.
        Authentication.from_file(settings.grpc.tokens_file, settings.grpc.admin_tokens_file)
        self.metrics = Metrics(version("wardgate"))
        self.further = FurtherModels(settings, self.metrics.further_batched)
        self.rollout = Rollout(
            settings.rollout.directory,
            configured_artefact(settings),
            ModelOpener(settings, self.metrics.batched, model),
            self.further.scorers,
            self.further.head_stages,
        )
        self.further.check_heads(self.rollout.standing.heads)
        calibrations = settings.calibrations
        self.drift = DriftMonitor(
            calibrations.drift_window, calibrations.drift_false_alarms, self.metrics.calibrations.drift_compared
        )
        self.policies = PolicyStore(
            settings.policies.directory,
            settings.policies.default,
            settings.policies.routes,
            self.rollout.heads,
            self._policies_loaded,
            CalibrationStore(calibrations.directory, self._scoring_models, self.drift),
        )
        self.policies.load()
        self.backend = build_backend(settings)
        self.shadows = Shadows(self.rollout, self.metrics.rollout)
        self.probing = Probing(settings, self.policies, self.metrics.probes, probe_worker)
        self.admission = Admission(settings.admission.max_in_flight, settings.admission.max_waiting, self._busy)
        self.explanations = Explanations(settings.explanations, ExplainingProcess(child_settings(settings)))
        self.explainer = self._explainer()
        observer = Observers(DecisionLog(self.metrics), self.drift)
        self.pipeline = Pipeline(
            self.policies, self.rollout, self.admission, observer, self.backend, self.shadows, self.explainer
        )
        failures = Failures(self.metrics)
        self.server = Server(settings.grpc, self._servicers(failures), self.metrics, failures)
        self.http = HttpServer(settings.http, self.metrics, lambda: self.ready)
        self.ready = False
        self._stopping = self._drained = False
        self._backend_started = self.backend is None
        self._lag_s = 0.0
        self.metrics.watch(self._gauges())

    def _busy(self, is_busy: bool) -> None:
        """What can wait makes way for live requests."""
        self.probing.preemption.busy(is_busy)
        self.explanations.preemption.busy(is_busy)

    def _explainer(self) -> Explainer:
        settings = self.settings
        return Explainer(
            self.policies,
            self.rollout,
            self.rollout.folder_of,
            self.explanations,
            self.metrics.explanations,
            explainable_generator(settings),
            settings.explanations.view_budget_s,
            settings.explanations.default_budget_s,
        )

    def _servicers(self, failures: Failures) -> tuple[Servicer, ...]:
        settings = self.settings
        max_bytes = settings.grpc.max_message_bytes
        guardrail = GuardrailServicer(
            self.pipeline,
            settings.limits,
            sampling_defaults(settings),
            max_bytes,
            failures,
            self.explainer,
            settings.explanations.max_budget_s,
        )
        changes = RolloutChanges(self.rollout, self.policies, self.metrics.rollout)
        return (
            guardrail,
            RewardModelServicer(changes, max_bytes),
            ProbeServicer(self.probing.runs, self.probing.watches, max_bytes),
        )

    async def run(self, stop: asyncio.Event | None = None) -> None:
        """Serves until `stop` is set, by default on SIGTERM or SIGINT; then lets what is in flight finish."""
        stop = stop or _stop_on_signals()
        try:
            await self.start()
            async with asyncio.TaskGroup() as tasks:
                chores = [
                    tasks.create_task(watch_policies(self.policies)),
                    tasks.create_task(self.drift.watch()),
                    tasks.create_task(self._watch_health()),
                    tasks.create_task(self._watch_lag()),
                    tasks.create_task(self._start_backend()),
                    tasks.create_task(self.shadows.run()),
                    tasks.create_task(self.probing.run()),
                    tasks.create_task(self.explanations.run()),
                ]
                await stop.wait()
                await self.drain()  # with every chore still done: what is in flight may need one
                for chore in chores:
                    chore.cancel()
        finally:
            await self.stop()

    async def start(self) -> None:
        """Opens both ports; scoring is warm and proven first, the wrapped model warms up after."""
        await self.rollout.prove()
        await self.further.warm_up()
        await self.probing.start()
        await self.http.start()
        await self.server.start()
        await self._update_health()
        log.info("serving", extra={"grpc_port": self.server.port, "http_port": self.http.port})

    async def drain(self) -> None:
        """Says that it stops, and lets what is in flight finish. Watchers are told to watch elsewhere."""
        self._stopping = True
        self.ready = False
        log.info("stopping", extra={"in_flight": self.admission.in_flight, "waiting": self.admission.waiting})
        await self.server.retire()
        self.probing.watches.close()
        await self.server.stop()
        self._drained = True

    async def stop(self) -> None:
        if not self._drained:  # a start or a chore has failed
            await self.drain()
        await self.probing.close()
        await self.close_scoring(0)  # no call is left that waits for a score
        if self.backend:
            await self.backend.stop()
        await self.http.stop()
        log.info("stopped")

    async def close_scoring(self, grace_s: float) -> None:
        """Ends the threads of every model, after what is in their lines."""
        await asyncio.gather(self.rollout.close(grace_s), self.further.close(grace_s))

    def _scoring_models(self) -> tuple[str, ...]:
        """Digests of the models that decide, the active version first."""
        further = (scorer.identity.digest for scorer in self.further.scorers.values())
        return (*(model.digest for model in self.rollout.standing.deciding), *further)

    def _policies_loaded(self, policies: Mapping[str, Policy], ok: bool) -> None:
        self.drift.policies_loaded(policies)
        self.metrics.policies_loaded(policies, ok)
        self.metrics.calibrations.watch_drift(self.drift.states)

    async def _start_backend(self) -> None:
        if self.backend:
            started = time.monotonic()
            await self.backend.start()
            self._backend_started = True
            await self._update_health()
            seconds = round(time.monotonic() - started, 2)
            log.info("wrapped model ready", extra={"model": self.backend.name, "seconds": seconds})

    async def _watch_health(self) -> None:
        while True:
            await self._update_health()
            await asyncio.sleep(_HEALTH_PERIOD_S)

    async def _update_health(self) -> None:
        """An upstream that is down leaves the server ready: Check needs none, and restarts would not mend it."""
        scoring = self.rollout.healthy
        upstream = self._backend_started and (self.backend is None or await self.backend.healthy())
        self.ready = scoring and self.further.healthy and self._backend_started and not self._stopping
        for component, ok in (
            ("service", self.ready),
            (REWARD_MODEL, scoring),
            ("further-models", self.further.healthy),
            (UPSTREAM, upstream),
        ):
            self.metrics.component_ready.labels(component).set(ok)
        services = dict.fromkeys(self.server.services, self.ready)
        self.server.set_health({"": self.ready, **services, REWARD_MODEL: scoring, UPSTREAM: upstream})

    async def _watch_lag(self) -> None:
        """How late the event loop is: what blocks it shows here first."""
        while True:
            due = time.monotonic() + _LAG_PERIOD_S
            await asyncio.sleep(_LAG_PERIOD_S)
            self._lag_s = max(0.0, time.monotonic() - due)

    def _gauges(self) -> list[LiveGauge]:
        admission, rollout, further, explanations = self.admission, self.rollout, self.further, self.explanations
        return [
            LiveGauge("wardgate_inflight_requests", "Requests at work.", lambda: admission.in_flight),
            LiveGauge("wardgate_waiting_requests", "Requests waiting for a place.", lambda: admission.waiting),
            LiveGauge("wardgate_queue_depth", "Windows waiting for a forward.", lambda: rollout.depth + further.depth),
            LiveGauge("wardgate_explanation_queue_depth", "Explanations that wait.", lambda: explanations.depth),
            LiveGauge("wardgate_event_loop_lag_seconds", "Lateness of the event loop.", lambda: self._lag_s),
        ]


def build_backend(settings: Settings) -> Backend | None:
    """The wrapped model, not yet started. Raises ModelError when its files are missing or damaged."""
    match settings.backend:
        case NoBackend():
            return None
        case TransformersSettings() as local:
            from service.backends.transformers import TransformersBackend  # heavy

            folder = ModelCache(settings.model_cache).path(local.model)
            return TransformersBackend(
                folder,
                local.model,
                dtype=local.dtype,
                device=local.device,
                max_concurrent=local.max_concurrent,
                threads=local.threads,
            )
        case OpenAISettings() as remote:
            from service.backends.openai import OpenAIBackend

            return OpenAIBackend(
                base_url=remote.base_url,
                model=remote.model,
                api_key_file=remote.api_key_file,
                ca_file=remote.ca_file,
                timeout_s=remote.timeout_s,
                max_connections=remote.max_connections,
                max_response_bytes=remote.max_response_bytes,
            )


def sampling_defaults(settings: Settings) -> SamplingParameters:
    """What a caller leaves unset; a server without a wrapped model has no use for them."""
    match settings.backend:
        case NoBackend():
            chosen = SamplingDefaults()
        case TransformersSettings(sampling=sampling) | OpenAISettings(sampling=sampling):
            chosen = sampling
    return SamplingParameters(
        max_tokens=chosen.max_tokens, temperature=chosen.temperature, top_p=chosen.top_p, top_k=chosen.top_k
    )


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    return stop
