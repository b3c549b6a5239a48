"""What probes are run against: the configured service itself, built once more in the probes' own process.

The guard is the pipeline of a live request with the policies, the rolled-out reward model and the further models
that the settings name; only its ports are never opened and its observers reach no metrics.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from guards.base import ScoreInput
from guards.errors import UnknownName, WardgateError
from guards.normalize import NORMALIZER_VERSION, normalize
from guards.policy import Policy
from guards.probes.targets import Exchange, Judged, Targets, Text
from guards.probes.words.vectors import WordVectors
from guards.rewards.guard import RewardGuard
from guards.types import Candidate, HeadScore, Message, Stage, TextPart, part_text
from service.app import App, build_backend
from service.backends.base import Backend, SamplingParameters
from service.config import NoBackend, Settings, TransformersSettings
from service.exchange import CheckCall, CheckResult, Verdict
from service.models import ModelCache
from service.probing.classifiers import classifier_opener
from service.probing.gradients import GradientOpener

T = TypeVar("T")

_TIME_LIMIT_S = 600.0  # of one call: a probe waits for nobody, but not for ever
_KINDS = {Stage.REQUEST: "prompt", Stage.RESPONSE: "exchange"}


class ProbedService:
    """Implements the targets of guards.probes over an App that serves nobody. Lives on one thread; close it."""

    def __init__(self, settings: Settings, policy: str = "") -> None:
        """Raises ConfigError or ModelError as the service itself would at its start."""
        self._settings = _one_thread(settings)
        self._runner = asyncio.Runner()
        self._app = self._runner.run(_open(self._settings))
        try:
            self._policy = self._app.policies.select(policy, "")
        except WardgateError:
            self._runner.run(self._app.close_scoring(0))
            self._runner.close()
            raise
        self.guard = _Guard(self)
        self.scores = _Scores(self)
        self._backend: Backend | None = None

    @property
    def policy(self) -> Policy:
        return self._policy

    @property
    def app(self) -> App:
        return self._app

    @property
    def settings(self) -> Settings:
        return self._settings

    def targets(self) -> Targets:
        settings = self._settings
        model = None if isinstance(settings.backend, NoBackend) else _Model(self)
        encoder = _Encoder(ModelCache(settings.model_cache).path(settings.scoring.encoder))
        gradients = None
        if find_spec("torch"):
            artefact = self._app.rollout.standing.active.artefact
            gradients = GradientOpener(settings, artefact, self._policy, tuple(self.scores.heads))
        return Targets(
            guard=self.guard,
            scores=self.scores,
            model=model,
            encoder=encoder,
            gradients=gradients,
            classifiers=classifier_opener(settings, self.scores),
            digests=self.digests(),
        )

    def digests(self) -> dict[str, str]:
        found = {
            "policy": f"{self._policy.name}@{self._policy.version} {self._policy.digest}",
            "normalizer": NORMALIZER_VERSION,
        }
        for number, model in enumerate(self._app.rollout.standing.deciding):
            found["reward_model" if number == 0 else f"canary_{number}"] = model.digest
        for name, scorer in self._app.further.scorers.items():
            found[f"model {name}"] = scorer.identity.digest
        match self._settings.backend:
            case NoBackend():
                pass
            case wrapped:
                found["wrapped_model"] = wrapped.model
        return found

    def backend(self) -> Backend:
        """The wrapped model, loaded with the first probe that asks it."""
        if self._backend is None:
            backend = build_backend(self._settings)
            assert backend is not None
            self.wait(backend.start())
            self._backend = backend
        return self._backend

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def close(self) -> None:
        if self._backend is not None:
            self.wait(self._backend.stop())
        self.wait(self._app.close_scoring(0))
        self._runner.close()


@dataclass(frozen=True, slots=True)
class _Said:
    """What is judged: a conversation, and the response to it if there is one."""

    messages: tuple[Message, ...]
    candidates: tuple[Candidate, ...] = ()


class _Guard:
    def __init__(self, service: ProbedService) -> None:
        self._service = service
        policy = service.policy
        self._heads = {
            stage: {member.guard.head for member in policy.guards(stage) if isinstance(member.guard, RewardGuard)}
            for stage in Stage
        }

    def requests(self, conversations: Sequence[Sequence[Message]]) -> tuple[Judged, ...]:
        results = self._service.wait(self._check([_Said(tuple(messages)) for messages in conversations]))
        return tuple(self._judged(result.request) for result in results)

    def responses(self, exchanges: Sequence[Exchange]) -> tuple[Judged, ...]:
        calls = [_Said(exchange.messages, (Candidate((TextPart(exchange.response or ""),)),)) for exchange in exchanges]
        results = self._service.wait(self._check(calls))
        return tuple(self._judged(result.candidates[0].verdict) for result in results)

    async def _check(self, calls: Sequence[_Said]) -> list[CheckResult]:
        pipeline, policy = self._service.app.pipeline, self._service.policy.name
        deadline = time.monotonic() + _TIME_LIMIT_S
        return await asyncio.gather(
            *(
                pipeline.check(CheckCall("probe", deadline, call.messages, call.candidates, policy, want_scores=True))
                for call in calls
            )
        )

    def _judged(self, verdict: Verdict) -> Judged:
        heads = self._heads[verdict.stage]
        risk = max((score.risk for name, score in verdict.scores.items() if name in heads), default=0.0)
        categories = tuple(dict.fromkeys(finding.category for finding in verdict.decision.findings))
        complete = verdict.coverage.complete and (not heads or any(name in heads for name in verdict.scores))
        return Judged(verdict.decision.would_action, risk, categories, complete)


class _Scores:
    def __init__(self, service: ProbedService) -> None:
        self._service = service

    @property
    def heads(self) -> Mapping[str, str]:
        stages = {**self._service.app.further.head_stages, **self._service.app.rollout.heads}
        return {name: _KINDS[stage] for name, sides in stages.items() for stage in sides}

    @property
    def thresholds(self) -> Mapping[str, float]:
        policy = self._service.policy
        found: dict[str, float] = {}
        for member in (*policy.request, *policy.response):
            if isinstance(member.guard, RewardGuard):
                rungs = [rung.threshold for rung in member.guard.serving_rungs() if rung.action.withholds]
                if rungs:
                    found[member.guard.head] = min(rungs)
        return found

    def scores(self, head: str, texts: Sequence[Text]) -> tuple[HeadScore, ...]:
        if head not in self.heads:
            raise UnknownName("head", head, tuple(self.heads))
        return self._service.wait(self._score(head, texts))

    async def _score(self, head: str, texts: Sequence[Text]) -> tuple[HeadScore, ...]:
        deadline = time.monotonic() + _TIME_LIMIT_S
        inputs = [
            ScoreInput(normalize(text.prompt), None if text.response is None else normalize(text.response))
            for text in texts
        ]
        async with self._service.app.rollout.choose(CheckCall("probe", deadline, ())) as lineup:
            scored = await lineup.scorer_of(head).score(inputs, deadline)
        return tuple(one.heads[head] for one in scored)


class _Model:
    def __init__(self, service: ProbedService) -> None:
        self._service = service

    @property
    def name(self) -> str:
        return self._service.backend().name

    def answers(self, conversations: Sequence[Sequence[Message]], max_tokens: int) -> tuple[str, ...]:
        backend = self._service.backend()
        sampling = SamplingParameters(max_tokens=max_tokens, temperature=0.0)
        deadline = time.monotonic() + _TIME_LIMIT_S

        async def ask() -> list[str]:
            written = await asyncio.gather(
                *(backend.generate(messages, sampling, 1, deadline) for messages in conversations)
            )
            return ["\n".join(part_text(part) for part in one[0].parts) for one in written]

        return tuple(self._service.wait(ask()))


class _Encoder:
    """Mean-pooled states of the embedded encoder, as its authors compare sentences. torch is loaded with the first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loaded: Any = None
        self._words: WordVectors | None = None

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = self._sentences().vectors(texts)
        return vectors

    def word_vectors(self) -> WordVectors:
        if self._words is None:
            self._words = self._sentences().words()
        return self._words

    def _sentences(self) -> Any:
        from guards.probes.sentence_vectors import SentenceVectors  # heavy: brings torch

        if self._loaded is None:
            self._loaded = SentenceVectors(self._folder)
        return self._loaded


async def _open(settings: Settings) -> App:
    """On a running loop, as in serving."""
    return App(settings)


def _one_thread(settings: Settings) -> Settings:
    """The same service with one thread for each of its models."""
    scoring = settings.scoring.model_copy(update={"workers": 1, "lone_threads": 1})
    backend = settings.backend
    if isinstance(backend, TransformersSettings):
        backend = backend.model_copy(update={"threads": 1})
    models = tuple(model.model_copy(update={"workers": 1, "threads": 1}) for model in settings.models)
    return settings.model_copy(update={"scoring": scoring, "backend": backend, "models": models})
