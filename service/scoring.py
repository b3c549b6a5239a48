"""The guards' Scorer over the batcher: encode, one submission for the whole call, combine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence

import numpy as np

from guards.base import ScoreInput
from guards.errors import DeadlineExceeded
from guards.normalize import normalize
from guards.rewards.encoding import EncodedText
from guards.rewards.scoring_model import ScoringModel
from guards.types import ModelIdentity, ScoreTiming, TextScores
from service.batcher import Batcher, SequenceResult

_LOOP_CHARACTERS = 4_000  # below: tokenized on the event loop (about 1 ms at most); above: in a thread
_WARM_UP_WORDS = (4, 40, 150)  # some 800 tokens of forwards in all: 0.2 s of the cold start
_FIRST_DEADLINE_S = 60.0  # for scoring before anybody waits: the runtime allocates for every shape it has not seen


class BatchedScorer:
    """`guards.base.Scorer`: every window of every text of a call goes to the batcher at once."""

    def __init__(self, model: ScoringModel, batcher: Batcher) -> None:
        self._model = model
        self._batcher = batcher

    @property
    def identity(self) -> ModelIdentity:
        return self._model.identity

    @property
    def heads(self) -> Sequence[str]:
        return self._model.heads

    async def score(self, inputs: Sequence[ScoreInput], deadline: float) -> tuple[TextScores, ...]:
        encoded = await self._encode(inputs, deadline)
        results = await self._batcher.submit([window for text, _ in encoded for window in text.sequences], deadline)
        scores, start = [], 0
        for text, tokenize_s in encoded:
            end = start + len(text.sequences)
            scores.append(self._combine(text, tokenize_s, results[start:end]))
            start = end
        return tuple(scores)

    async def warm_up(self) -> None:
        """Score a few lengths, alone and together, so that the first real request is not slow."""
        texts = [normalize("ready " * words) for words in _WARM_UP_WORDS]
        prompts = [ScoreInput(text) for text in texts]
        for prompt in prompts:
            await self.score([prompt], time.monotonic() + _FIRST_DEADLINE_S)
        exchanges = [ScoreInput(text, text) for text in texts]
        await self.score(prompts + exchanges, time.monotonic() + _FIRST_DEADLINE_S)

    async def separates(self, safe: str, unsafe: str, margin: float = 0.05) -> bool:
        """Whether the model finds `unsafe` riskier than `safe` by `margin` of probability: damaged weights do not."""
        texts = [normalize(safe), normalize(unsafe)]
        empty = normalize("")
        inputs = [ScoreInput(text) for text in texts] + [ScoreInput(empty, text) for text in texts]
        of_safe, of_unsafe, as_safe, as_unsafe = await self.score(inputs, time.monotonic() + _FIRST_DEADLINE_S)
        if not of_safe.heads:  # a model without heads for prompts judges the texts as responses
            of_safe, of_unsafe = as_safe, as_unsafe
        return _risk(of_unsafe) > _risk(of_safe) + margin

    async def _encode(self, inputs: Sequence[ScoreInput], deadline: float) -> list[tuple[EncodedText, float]]:
        if _characters(inputs) <= _LOOP_CHARACTERS:
            return self._encode_now(inputs)
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await asyncio.to_thread(self._encode_now, inputs)
        except TimeoutError:
            raise DeadlineExceeded("tokenizing did not finish before the deadline") from None

    def _encode_now(self, inputs: Iterable[ScoreInput]) -> list[tuple[EncodedText, float]]:
        """Each text's windows, and the seconds it took."""
        encoded = []
        for item in inputs:
            started = time.perf_counter()
            encoded.append((self._model.encode(item), time.perf_counter() - started))
        return encoded

    def _combine(self, text: EncodedText, tokenize_s: float, results: Sequence[SequenceResult]) -> TextScores:
        if not results:  # no head judges such texts
            return TextScores({}, text.coverage, model_digest=self._model.identity.digest)
        heads = self._model.combine(text, np.stack([result.rewards for result in results]))
        timing = ScoreTiming(
            tokenize_s=tokenize_s,
            queue_s=max(result.queue_s for result in results),
            forward_s=max(result.forward_s for result in results),
        )
        return TextScores(heads, text.coverage, timing, self._model.identity.digest)


def _characters(inputs: Iterable[ScoreInput]) -> int:
    return sum(len(item.answered.text) + (len(item.response.text) if item.response else 0) for item in inputs)


def _risk(scores: TextScores) -> float:
    return max((head.risk for head in scores.heads.values()), default=0.0)
