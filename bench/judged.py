"""Texts through the guards of the default policy's request side, as the service judges them, without a server."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from guards.base import ScoreInput
from guards.decision import decide
from guards.normalize import NormalizedText
from guards.policy import Policy, load_policy
from guards.rewards.encoding import EncodedSequence, EncodedText, pad
from guards.rewards.reward_model import RewardModel
from guards.rewards.runtimes.base import FloatArray
from guards.rewards.scoring_model import batches_by_length
from guards.rules.obfuscated import ObfuscatedGuard
from guards.types import GuardResult, GuardStatus, Message, ModelIdentity, Role, Scope, TextPart, TextScores
from service.exchange import least_complete
from service.judged_text import JudgedText
from service.lineup import Lineup
from service.reward_models import head_stages
from service.subject import Submission, inputs_of, request_text, subjects_of

POLICY = Path(__file__).parents[1] / "guards" / "policies" / "default.yaml"


@dataclass(frozen=True, slots=True)
class Outcome:
    """`withheld` by the policy's decision; `flagged` by the guard on disguises."""

    withheld: bool
    flagged: bool
    by_reading: bool  # whether a reading was the worst of the text


@dataclass
class Judge:
    """`normalization` and `readings` can be left out, to see what they are worth. Remembers windows it has scored.

    Implements guards.base.Scorer, so that guards see what they see in the service: only the batcher is not there.
    """

    model: RewardModel
    normalization: bool = True
    readings: bool = True
    turns: bool = True  # the user's turns together; never without readings
    seen: dict[bytes, FloatArray] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.policy: Policy = load_policy(POLICY, head_stages(self.model.manifest))
        self.windows = 0  # scored or remembered, of all that was asked for
        self._lineup = Lineup(self)

    @property
    def identity(self) -> ModelIdentity:
        return self.model.identity

    @property
    def heads(self) -> Sequence[str]:
        return self.model.heads

    def texts(self, texts: Iterable[str]) -> list[Outcome]:
        return self.conversations([(Message(Role.USER, (TextPart(text),)),) for text in texts], Scope.NEW_TURNS)

    def conversations(self, conversations: Sequence[Sequence[Message]], scope: Scope) -> list[Outcome]:
        return asyncio.run(self._judge(conversations, scope))

    async def score(self, inputs: Sequence[ScoreInput], deadline: float) -> tuple[TextScores, ...]:
        return tuple(self._score(inputs))

    async def _judge(self, conversations: Sequence[Sequence[Message]], scope: Scope) -> list[Outcome]:
        texts = [await self._text(messages, scope) for messages in conversations]
        self._score([item for text in texts for item in inputs_of(text, [text])])  # all at once, and remembered
        self.windows = 0
        return [await self._outcome(text) for text in texts]

    async def _text(self, messages: Sequence[Message], scope: Scope) -> JudgedText:
        judged = await request_text(messages, scope, self.policy if self.readings and self.turns else None)
        text = judged.text if self.normalization else NormalizedText(judged.text.original, judged.text.original)
        return replace(judged, text=text, readings=judged.readings if self.readings else ())

    async def _outcome(self, text: JudgedText) -> Outcome:
        submission = Submission(self._lineup, inputs_of(text, [text]), math.inf)
        (subject,) = subjects_of([text], submission)
        results, flagged = [], False
        for member in self.policy.request:
            if isinstance(member.guard, ObfuscatedGuard) and not self.readings:
                continue
            findings = await member.guard.evaluate(subject)
            flagged |= isinstance(member.guard, ObfuscatedGuard) and bool(findings)
            results.append(GuardResult(member.guard.name, member.stage, GuardStatus.OK, findings, member.enforcement))
        await submission.close()
        decision = decide(self.policy, results, least_complete(subject.scored()), "en")
        by_reading = any(finding.reading and finding.action.withholds for finding in decision.findings)
        return Outcome(decision.action.withholds, flagged, decision.action.withholds and by_reading)

    def _score(self, inputs: Sequence[ScoreInput]) -> list[TextScores]:
        encoded = [self.model.encode(item) for item in inputs]
        self.windows += sum(len(text.sequences) for text in encoded)
        new = {_key(one): one for text in encoded for one in text.sequences if _key(one) not in self.seen}
        rows = list(new.values())
        for batch in batches_by_length(rows, 2048):
            rewards = self.model.runtime.forward(pad([rows[row] for row in batch]))
            self.seen |= {_key(rows[row]): reward for row, reward in zip(batch, rewards, strict=True)}
        return [self._combined(text) for text in encoded]

    def _combined(self, text: EncodedText) -> TextScores:
        rewards = np.stack([self.seen[_key(one)] for one in text.sequences])
        return TextScores(self.model.combine(text, rewards), text.coverage, model_digest=self.model.identity.digest)


def _key(sequence: EncodedSequence) -> bytes:
    return sequence.input_ids.tobytes()
