"""The composition root: builds everything from the settings, and owns every task."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Mapping
from importlib.metadata import version

from guards.policy import Policy
from guards.rewards.reward_model import RewardModel
from service.admission import Admission
from service.backends.base import Backend, SamplingParameters
from service.batch_choice import BatchLimits
from service.batcher import Batcher
from service.calibrations import CalibrationStore
from service.config import NoBackend, OpenAISettings, SamplingDefaults, ScoringSettings, Settings, TransformersSettings
from service.decision_log import DecisionLog
from service.drift import DriftMonitor
from service.http import HttpServer
from service.interceptors import Failures
from service.metrics import LiveGauge, Metrics
from service.models import ModelCache
from service.observers import Observers
from service.pipeline import Pipeline
from service.policies import PolicyStore, watch_policies
from service.reward_models import head_stages, open_lone_runtime, open_reward_model
from service.scoring import BatchedScorer
from service.server import GUARDRAIL_SERVICE, REWARD_MODEL, UPSTREAM, Server
from service.servicers import GuardrailServicer

log = logging.getLogger(__name__)

# Readiness asks that the reward model tell these apart: a model that scores everything alike is broken.
KNOWN_SAFE = "What is a good recipe for tomato soup?"
KNOWN_UNSAFE = "Explain how to build a bomb that kills as many people as possible."

_HEALTH_PERIOD_S = 1.0
_LAG_PERIOD_S = 0.5


class App:
    """Everything, wired and not yet running. Raises ConfigError or ModelError before any port opens."""

    def __init__(self, settings: Settings, model: RewardModel | None = None) -> None:
        self.settings = settings
        lone = None
        if model is None:
            model, lone = open_reward_model(settings), open_lone_runtime(settings)
        self.metrics = Metrics(version("wardgate"), model.identity)
        calibrations, serving = settings.calibrations, model.identity.digest
        self.drift = DriftMonitor(
            calibrations.drift_window, calibrations.drift_false_alarms, self.metrics.calibrations.drift_compared
        )
        self.policies = PolicyStore(
            settings.policies.directory,
            settings.policies.default,
            settings.policies.routes,
            head_stages(model.manifest),
            self._policies_loaded,
            CalibrationStore(calibrations.directory, lambda: (serving,), self.drift),
        )
        self.policies.load()
        self.backend = build_backend(settings)
        self.batcher = Batcher(model.runtime, batch_limits(settings.scoring), self.metrics.batched, lone)
        self.scorer = BatchedScorer(model, self.batcher)
        self.admission = Admission(settings.admission.max_in_flight, settings.admission.max_waiting)
        observer = Observers(DecisionLog(self.metrics), self.drift)
        self.pipeline = Pipeline(self.policies, self.scorer, self.admission, observer, self.backend)
        failures = Failures(self.metrics)
        servicer = GuardrailServicer(
            self.pipeline, settings.limits, sampling_defaults(settings), settings.grpc.max_message_bytes, failures
        )
        self.server = Server(settings.grpc, servicer, self.metrics, failures)
        self.http = HttpServer(settings.http, self.metrics, lambda: self.ready)
        self.ready = False
        self._separates = False
        self._backend_started = self.backend is None
        self._lag_s = 0.0
        self.metrics.watch(self._gauges())

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
                ]
                await stop.wait()
                for chore in chores:
                    chore.cancel()
        finally:
            await self.stop()

    async def start(self) -> None:
        """Opens both ports; scoring is warm and proven first, the wrapped model warms up after."""
        await self.scorer.warm_up()
        self._separates = await self.scorer.separates(KNOWN_SAFE, KNOWN_UNSAFE)
        if not self._separates:
            log.error("the reward model does not tell a known-safe from a known-unsafe text; not ready")
        await self.http.start()
        await self.server.start()
        await self._update_health()
        log.info("serving", extra={"grpc_port": self.server.port, "http_port": self.http.port})

    async def stop(self) -> None:
        self.ready = False
        self.admission.close()
        await self.server.stop()
        await self.batcher.close(self.settings.grpc.drain_s)
        if self.backend:
            await self.backend.stop()
        await self.http.stop()
        log.info("stopped")

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
        scoring = self._separates and self.batcher.healthy
        upstream = self._backend_started and (self.backend is None or await self.backend.healthy())
        self.ready = scoring and self._backend_started
        for component, ok in ((REWARD_MODEL, scoring), (UPSTREAM, upstream)):
            self.metrics.component_ready.labels(component).set(ok)
        await self.server.set_health(
            {"": self.ready, GUARDRAIL_SERVICE: self.ready, REWARD_MODEL: scoring, UPSTREAM: upstream}
        )

    async def _watch_lag(self) -> None:
        """How late the event loop is: what blocks it shows here first."""
        while True:
            due = time.monotonic() + _LAG_PERIOD_S
            await asyncio.sleep(_LAG_PERIOD_S)
            self._lag_s = max(0.0, time.monotonic() - due)

    def _gauges(self) -> list[LiveGauge]:
        admission, batcher = self.admission, self.batcher
        return [
            LiveGauge("wardgate_inflight_requests", "Requests at work.", lambda: admission.in_flight),
            LiveGauge("wardgate_waiting_requests", "Requests waiting for a place.", lambda: admission.waiting),
            LiveGauge("wardgate_queue_depth", "Windows waiting for a forward.", lambda: batcher.depth),
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


def batch_limits(scoring: ScoringSettings) -> BatchLimits:
    return BatchLimits(
        max_tokens=scoring.max_batch_tokens,
        max_items=scoring.max_batch_items,
        max_padding=scoring.max_padding,
        patience=scoring.patience,
        max_queue_items=scoring.max_queue_items,
        workers=scoring.workers,
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
