"""Targets of probes that answer by functions of the text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from guards.errors import UnknownName
from guards.probes.base import Measured, Probe, Trial
from guards.probes.targets import Exchange, Judged, Targets, Text
from guards.types import Action, HeadScore, Message


@dataclass
class FakeGuard:
    """`request` and `response` give risks of texts, of requests the last message; from 0.5 they are withheld."""

    request: Callable[[str], float] = lambda text: 0.0
    response: Callable[[str], float] = lambda text: 0.0
    seen: list[str] = field(default_factory=list)

    def requests(self, conversations: Sequence[Sequence[Message]]) -> tuple[Judged, ...]:
        texts = [messages[-1].text for messages in conversations]
        self.seen += texts
        return tuple(judged(self.request(text)) for text in texts)

    def responses(self, exchanges: Sequence[Exchange]) -> tuple[Judged, ...]:
        return tuple(judged(self.response(exchange.response or "")) for exchange in exchanges)


def judged(risk: float) -> Judged:
    return Judged(Action.BLOCK if risk >= 0.5 else Action.ALLOW, risk)


@dataclass
class FakeScores:
    """`reward` gives the reward of a prompt and a response; risk falls with it."""

    reward: Callable[[str, str], float]
    heads: Mapping[str, str] = field(
        default_factory=lambda: {"request_risk": "prompt", "response_reward": "exchange", "helpfulness": "exchange"}
    )
    thresholds: Mapping[str, float] = field(default_factory=dict)

    def scores(self, head: str, texts: Sequence[Text]) -> tuple[HeadScore, ...]:
        if head not in self.heads:
            raise UnknownName("head", head, tuple(self.heads))
        rewards = [self.reward(text.prompt, text.response or "") for text in texts]
        return tuple(HeadScore(head, reward, float(1 / (1 + np.exp(reward))), 0, 0) for reward in rewards)


@dataclass
class FakeModel:
    """`answer` gives the answer to a conversation's last message."""

    answer: Callable[[str], str] = lambda text: "Here is what you asked for."
    name: str = "fake"
    asked: list[str] = field(default_factory=list)
    calls: int = 0

    def answers(self, conversations: Sequence[Sequence[Message]], max_tokens: int) -> tuple[str, ...]:
        self.calls += 1
        texts = [messages[-1].text for messages in conversations]
        self.asked += texts
        return tuple(self.answer(text) for text in texts)


class FakeEncoder:
    """Texts of the same words have the same vector, texts without a common word are at right angles, mostly."""

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows = []
        for text in texts:
            row = np.zeros(512, np.float32)
            row[0] = 1e-3
            for word in text.lower().split():
                row[sum(word.encode()) * 31 % 511 + 1] += 1
            rows.append(row / np.linalg.norm(row))
        return np.array(rows, np.float32).reshape(len(rows), 512)


def targets(**given: object) -> Targets:
    everything: dict[str, object] = {
        "guard": FakeGuard(),
        "scores": FakeScores(lambda prompt, response: 0.0),
        "model": FakeModel(),
        "encoder": FakeEncoder(),
    }
    return Targets(**(everything | given))  # type: ignore[arg-type]


def measured(probe: Probe, targets: Targets, seed: int = 7) -> tuple[Measured, ...]:
    """Every unit's rows, those of one setting together."""
    found: dict[object, Measured] = {}
    for one in _rows(probe, targets, seed):
        before = found.get(one.setting.key)
        found[one.setting.key] = Measured(one.setting, (*before.trials, *one.trials)) if before else one
    return tuple(found.values())


def _rows(probe: Probe, targets: Targets, seed: int) -> Iterator[Measured]:
    for unit in probe.units(seed):
        yield from unit.run(targets)


def successes(rows: Sequence[Measured], **wanted: object) -> int:
    """Of all rows whose setting has these parameters, target or kind."""
    return sum(trial.success for trial in trials(rows, **wanted))


def trials(rows: Sequence[Measured], **wanted: object) -> list[Trial]:
    found: list[Trial] = []
    for row in rows:
        has = {"target": row.setting.target, "kind": row.setting.kind, **row.setting.parameters}
        if all(has.get(name) == value for name, value in wanted.items()):
            found += row.trials
    return found
