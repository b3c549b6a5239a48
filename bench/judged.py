"""Texts through the guards of the default policy's request side, as the service judges them, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from guards.base import ScoreInput
from guards.decision import decide
from guards.normalize import NormalizedText
from guards.policy import Policy, load_policy
from guards.readings.reading import Reading
from guards.rewards.encoding import EncodedSequence, EncodedText, pad
from guards.rewards.reward_model import RewardModel
from guards.rewards.runtimes.base import FloatArray
from guards.rewards.scoring_model import batches_by_length
from guards.rules.obfuscated import ObfuscatedGuard
from guards.types import GuardResult, GuardStatus, Message, Role, Scope, Span, Stage, TextPart, TextScores
from service.reward_models import head_stages
from service.subject import request_text

POLICY = Path(__file__).parents[1] / "guards" / "policies" / "default.yaml"


@dataclass(frozen=True, slots=True)
class Outcome:
    """`withheld` by the policy's decision; `flagged` by the guard on disguises."""

    withheld: bool
    flagged: bool
    by_reading: bool  # whether a reading was the worst of the text


@dataclass
class Judge:
    """`normalization` and `readings` can be left out, to see what they are worth. Remembers windows it has scored."""

    model: RewardModel
    normalization: bool = True
    readings: bool = True
    seen: dict[bytes, FloatArray] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.policy: Policy = load_policy(POLICY, head_stages(self.model.manifest))

    def texts(self, texts: Iterable[str]) -> list[Outcome]:
        return self.conversations([(Message(Role.USER, (TextPart(text),)),) for text in texts], Scope.NEW_TURNS)

    def conversations(self, conversations: Sequence[Sequence[Message]], scope: Scope) -> list[Outcome]:
        return asyncio.run(self._judge([self._input(one, scope) for one in conversations]))

    def _input(self, messages: Sequence[Message], scope: Scope) -> ScoreInput:
        judged = asyncio.run(request_text(messages, scope))
        text = judged.text if self.normalization else NormalizedText(judged.text.original, judged.text.original)
        return ScoreInput(text, readings=judged.readings if self.readings else ())

    async def _judge(self, inputs: Sequence[ScoreInput]) -> list[Outcome]:
        scores = self._score(inputs)
        return [await self._outcome(_Scored(item, score)) for item, score in zip(inputs, scores, strict=True)]

    async def _outcome(self, subject: _Scored) -> Outcome:
        results, flagged = [], False
        for member in self.policy.request:
            if isinstance(member.guard, ObfuscatedGuard) and not self.readings:
                continue
            findings = await member.guard.evaluate(subject)
            flagged |= isinstance(member.guard, ObfuscatedGuard) and bool(findings)
            results.append(GuardResult(member.guard.name, member.stage, GuardStatus.OK, findings, member.enforcement))
        decision = decide(self.policy, results, subject.result.coverage, "en")
        by_reading = any(head.reading for head in subject.result.heads.values())
        return Outcome(decision.action.withholds, flagged, decision.action.withholds and by_reading)

    def _score(self, inputs: Sequence[ScoreInput]) -> list[TextScores]:
        encoded = [self.model.encode(item) for item in inputs]
        new = {_key(one): one for text in encoded for one in text.sequences if _key(one) not in self.seen}
        rows = list(new.values())
        for batch in batches_by_length(rows, 2048):
            rewards = self.model.runtime.forward(pad([rows[row] for row in batch]))
            self.seen |= {_key(rows[row]): reward for row, reward in zip(batch, rewards, strict=True)}
        return [self._combined(text) for text in encoded]

    def _combined(self, text: EncodedText) -> TextScores:
        rewards = np.stack([self.seen[_key(one)] for one in text.sequences])
        return TextScores(self.model.combine(text, rewards), text.coverage, model_digest=self.model.identity.digest)


@dataclass(slots=True)  # not frozen: a Subject's fields may be set
class _Scored:
    """Implements guards.base.Subject over scores that are there."""

    item: ScoreInput
    result: TextScores
    stage: Stage = Stage.REQUEST
    text: NormalizedText = field(init=False)

    def __post_init__(self) -> None:
        self.text = self.item.prompt

    async def scores(self, head: str) -> TextScores:
        return self.result

    def readings(self) -> tuple[Reading, ...]:
        return self.item.readings

    def spans(self, start: int, end: int) -> tuple[Span, ...]:
        return (Span(0, 0, start, end),)


def _key(sequence: EncodedSequence) -> bytes:
    return sequence.input_ids.tobytes()
