"""Small stand-ins for models, and a real server around them. Everything else in a test is the real thing."""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from guards.base import ScoreInput
from guards.policy import Policy
from guards.types import Coverage, HeadScore, Message, ModelIdentity, ScoreTiming, Stage, TextPart, TextScores
from service.admission import Admission
from service.backends.base import Backend, FinishReason, Generation, SamplingParameters
from service.calibrations import CalibrationStore
from service.config import CalibrationSettings, ExplanationSettings, GrpcSettings, LimitSettings, NoBackend, Settings
from service.decision_log import DecisionLog
from service.drift import DriftMonitor
from service.explaining.explainer import Explainer
from service.explaining.explanations import Asked, Explanations
from service.explaining.opening import explainable_generator
from service.explaining.process import ExplainingProcess
from service.explaining.work import ChildSettings
from service.interceptors import Failures
from service.lineup import FixedLineup
from service.metrics import Metrics
from service.observers import Observers
from service.pipeline import Pipeline
from service.policies import PolicyStore
from service.server import Server
from service.servicers.guardrail import GuardrailServicer
from wardgate.v1 import conversation_pb2 as conversation
from wardgate.v1 import guardrail_pb2 as guardrail

HEADS = {"request_risk": frozenset((Stage.REQUEST,)), "response_reward": frozenset((Stage.RESPONSE,))}

REWARD_POLICY = """
name: default
version: "1"
request:
  - kind: reward
    name: request-risk
    head: request_risk
    thresholds: {block: 0.8, flag: 0.5}
response:
  - kind: reward
    name: response-risk
    head: response_reward
    thresholds: {block: 0.8, flag: 0.5}
safe_messages: {en: "I can't help with that.", de: "Das geht nicht."}
"""


FAKE_MODEL = ModelIdentity("fake", "1", "f" * 64, "none", "0")


def risk_of(text: str) -> float:
    """What FakeScorer thinks: words say it, and two of them only together."""
    if "bomb" in text or ("powder" in text and "fuse" in text):
        return 0.97
    return 0.6 if "knife" in text else 0.02


@dataclass
class FakeScorer:
    """Scores by words. `before` runs first and may wait or raise; `calls` keeps what was asked.

    `heads`: the one for requests, then the one for responses.
    """

    before: Callable[[Sequence[ScoreInput]], object] | None = None
    tokens_scored: int | None = None  # of 10 per text, to feign incomplete coverage
    calls: list[list[ScoreInput]] = field(default_factory=list)
    identity: ModelIdentity = FAKE_MODEL
    heads: tuple[str, str] = ("request_risk", "response_reward")

    async def score(self, inputs: Sequence[ScoreInput], deadline: float) -> tuple[TextScores, ...]:
        self.calls.append(list(inputs))
        if self.before:
            waiting = self.before(inputs)
            if asyncio.iscoroutine(waiting):
                await waiting
        return tuple(self._one(item) for item in inputs)

    def _one(self, item: ScoreInput) -> TextScores:
        judged = item.prompt if item.response is None else item.response
        head = self.heads[item.response is not None]
        readings = [(risk_of(reading.text.text), *reading.source, reading.kinds) for reading in item.readings]
        plain = (risk_of(judged.text), 0, len(judged.original), "")
        risk, start, end, reading = max(plain, *readings, key=lambda one: one[0]) if readings else plain
        # Longer is better here, so that tests can tell candidates apart.
        reward = (1 - risk) * 4 + len(judged.text) / 1000
        score = HeadScore(head, reward, risk, start, end, reading=reading)
        scored = 10 if self.tokens_scored is None else self.tokens_scored
        timing = ScoreTiming(0.001, 0.002, 0.003)
        return TextScores({head: score}, Coverage(10, scored, 1), timing, self.identity.digest)


@dataclass
class FakeBackend:
    """Says the texts in turn, the last one for ever. `before` runs first and may wait or raise."""

    texts: Sequence[str] = ("Hello there.",)
    before: Callable[[], object] | None = None
    name: str = "fake-model"
    asked: list[tuple[tuple[Message, ...], SamplingParameters]] = field(default_factory=list)
    cancelled: int = 0
    said: int = 0

    async def start(self) -> None:
        return None

    async def generate(
        self, messages: Sequence[Message], sampling: SamplingParameters, n: int, deadline: float
    ) -> tuple[Generation, ...]:
        self.asked.append((tuple(messages), sampling))
        try:
            if self.before:
                waiting = self.before()
                if asyncio.iscoroutine(waiting):
                    await waiting
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return tuple(self._say() for _ in range(n))

    def _say(self) -> Generation:
        text = self.texts[min(self.said, len(self.texts) - 1)]
        self.said += 1
        return Generation((TextPart(text),), FinishReason.STOP, prompt_tokens=7, completion_tokens=3)

    async def healthy(self) -> bool:
        return True

    async def stop(self) -> None:
        return None


def heads_of(scorer: FakeScorer) -> dict[str, frozenset[Stage]]:
    return dict(zip(scorer.heads, HEADS.values(), strict=True))


def write_policy(directory: Path, text: str = REWARD_POLICY, file: str = "default.yaml") -> Path:
    path = directory / file
    path.write_text(textwrap.dedent(text))
    return path


@dataclass
class Running:
    """A server at work: how to call it and what it is made of."""

    address: str
    channel: grpc.aio.Channel
    metrics: Metrics
    policies: PolicyStore
    admission: Admission
    pipeline: Pipeline
    server: Server
    explanations: Explanations
    chores: list[asyncio.Task[None]]

    def stop_explaining(self) -> None:
        self.chores[-1].cancel()

    async def check(self, request: guardrail.CheckRequest, timeout: float | None = 10.0) -> guardrail.CheckResponse:
        return await self.call("Check", request.SerializeToString(), guardrail.CheckResponse, timeout)

    async def generate(
        self, request: guardrail.GenerateRequest, timeout: float | None = 10.0
    ) -> guardrail.GenerateResponse:
        return await self.call("Generate", request.SerializeToString(), guardrail.GenerateResponse, timeout)

    async def explain(self, request: guardrail.ExplainRequest, timeout: float = 10.0) -> guardrail.ExplainResponse:
        return await self.call("Explain", request.SerializeToString(), guardrail.ExplainResponse, timeout)

    async def batch_check(self, *requests: guardrail.CheckRequest) -> guardrail.BatchCheckResponse:
        raw = guardrail.BatchCheckRequest(requests=requests).SerializeToString()
        return await self.call("BatchCheck", raw, guardrail.BatchCheckResponse)

    def call(self, method: str, raw: bytes, reply, timeout: float | None = 10.0):  # type: ignore[no-untyped-def]
        rpc = self.channel.unary_unary(
            f"/wardgate.v1.GuardrailService/{method}", response_deserializer=reply.FromString
        )
        return rpc(raw, timeout=timeout)

    def metric(self, name: str, **labels: str) -> float:
        """A sample's value; 0 when there is none yet."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def running_server(
    policies: Path,
    scorer: FakeScorer | None = None,
    backend: Backend | None = None,
    grpc_settings: GrpcSettings | None = None,
    limits: LimitSettings | None = None,
    admission: Admission | None = None,
    routes: dict[str, str] | None = None,
    others: Mapping[str, FakeScorer] | None = None,
    calibrations: CalibrationSettings | None = None,
    explanation_settings: ExplanationSettings | None = None,
    process: Asked | None = None,
    artefact: Path | None = None,
) -> AsyncIterator[Running]:
    """A real gRPC server on a free port of loopback, around fakes, with the policies in a folder.

    `others` are further models beside `scorer`. Explanations run where there is a `process`; `artefact` is what it
    opens for the fake scorer.
    """
    settings = grpc_settings or GrpcSettings(port=0, drain_s=1.0)
    scorer = scorer or FakeScorer()
    metrics = Metrics("test")
    heads = HEADS | {head: sides for other in (others or {}).values() for head, sides in heads_of(other).items()}
    watched = calibrations or CalibrationSettings()
    drift = DriftMonitor(watched.drift_window, watched.drift_false_alarms, metrics.calibrations.drift_compared)

    def loaded(policies: Mapping[str, Policy], ok: bool) -> None:
        drift.policies_loaded(policies)
        metrics.policies_loaded(policies, ok)
        metrics.calibrations.watch_drift(drift.states)

    known = CalibrationStore(watched.directory, lambda: (scorer.identity.digest,), drift)
    store = PolicyStore(policies, "default", routes or {}, heads, loaded, known)
    store.load()
    lineup = FixedLineup(scorer, others)
    explaining = explanation_settings or ExplanationSettings()
    explanations = Explanations(explaining, process or ExplainingProcess(ChildSettings("none", policies, 1)))
    places = admission or Admission(64, 64, explanations.preemption.busy)
    explainer = Explainer(
        store,
        lineup,
        lambda digest: artefact,
        explanations,
        metrics.explanations,
        explainable_generator(Settings(backend=NoBackend())),
        explaining.view_budget_s,
        explaining.default_budget_s,
    )
    observers = Observers(DecisionLog(metrics), drift)
    pipeline = Pipeline(store, lineup, places, observers, backend, explainer=explainer)
    failures = Failures(metrics)
    sampling = SamplingParameters(max_tokens=64)
    servicer = GuardrailServicer(
        pipeline,
        limits or LimitSettings(),
        sampling,
        settings.max_message_bytes,
        failures,
        explainer,
        explaining.max_budget_s,
    )
    server = Server(settings, [servicer], metrics, failures)
    await server.start()
    server.set_health(dict.fromkeys(server.health_names, True))
    address = f"{settings.host}:{server.port}"
    chores = [asyncio.create_task(drift.watch())]
    if process is not None:
        chores.append(asyncio.create_task(explanations.run()))
    try:
        async with grpc.aio.insecure_channel(address) as channel:
            yield Running(address, channel, metrics, store, places, pipeline, server, explanations, chores)
    finally:
        await server.stop()
        for chore in chores:
            chore.cancel()
        await asyncio.gather(*chores, return_exceptions=True)


def user(text: str) -> conversation.Message:
    return conversation.Message(role=conversation.ROLE_USER, parts=[conversation.ContentPart(text=text)])


def assistant(text: str) -> conversation.Message:
    return conversation.Message(role=conversation.ROLE_ASSISTANT, parts=[conversation.ContentPart(text=text)])


def candidate(text: str) -> conversation.Candidate:
    return conversation.Candidate(parts=[conversation.ContentPart(text=text)])


def ask(text: str, *candidates: str, **more: object) -> guardrail.CheckRequest:
    return guardrail.CheckRequest(
        messages=[user(text)],
        candidates=[candidate(said) for said in candidates],
        **more,  # type: ignore[arg-type]
    )
