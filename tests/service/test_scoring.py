from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from guards.base import ScoreInput, Scorer
from guards.errors import DeadlineExceeded, ScoringError
from guards.normalize import NORMALIZER_VERSION, normalize
from guards.rewards.encoding import TextEncoder
from guards.rewards.manifest import Calibration, EncoderSpec, HeadSpec, Manifest, PoolingSpec, WindowSpec
from guards.rewards.reward_model import RewardModel
from guards.rewards.runtimes.base import FloatArray, TokenBatch
from service.batcher import Batcher, BatchLimits
from service.scoring import BatchedScorer

VOCABULARY = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "good": 4, "bad": 5, "broken": 6}
ZEROS = "0" * 64
WINDOW = WindowSpec(size=16, overlap=4, context=8)


@dataclass
class WordRuntime:
    """Both heads: +2 for a text of good words, -2 as soon as it has a bad one, NaN for "broken"."""

    name: str = "words"
    heads: Sequence[str] = ("request_risk", "response_reward")
    blind: bool = False
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    free: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.free.set()

    def forward(self, batch: TokenBatch) -> FloatArray:
        self.shapes.append(batch.input_ids.shape)
        assert self.free.wait(20), "the test never let the runtime go on"
        judged = batch.input_ids
        reward = np.where((judged == VOCABULARY["bad"]).any(axis=1) & (not self.blind), -2.0, 2.0)
        reward[(judged == VOCABULARY["broken"]).any(axis=1)] = np.nan
        return np.stack([reward, reward], axis=1).astype(np.float32)


def manifest(kinds: Sequence[str]) -> Manifest:
    calibration = Calibration(method="platt", a=1.0, b=0.0, id="test")
    return Manifest(
        name="words",
        version="1",
        encoder=EncoderSpec(source="test:words", sha256=ZEROS, tokenizer_sha256=ZEROS),
        window=WINDOW,
        pooling=PoolingSpec(layers=(1,), kinds=("mean",)),
        normalizer=NORMALIZER_VERSION,
        heads=tuple(
            HeadSpec.model_validate({"name": name, "input": kind, "calibration": calibration})
            for name, kind in zip(("request_risk", "response_reward"), kinds, strict=True)
        ),
        heads_sha256=ZEROS,
    )


@contextlib.asynccontextmanager
async def scoring(runtime: WordRuntime, kinds: Sequence[str] = ("prompt", "exchange")) -> AsyncIterator[BatchedScorer]:
    tokenizer = Tokenizer(WordLevel(VOCABULARY, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    model = RewardModel(manifest(kinds), "digest", TextEncoder(tokenizer, WINDOW), runtime)
    batcher = Batcher(runtime, BatchLimits(workers=1))
    try:
        yield BatchedScorer(model, batcher)
    finally:
        runtime.free.set()
        await batcher.close(grace_s=5.0)


def prompt(text: str) -> ScoreInput:
    return ScoreInput(normalize(text))


def exchange(text: str, response: str) -> ScoreInput:
    return ScoreInput(normalize(text), normalize(response))


def soon() -> float:
    return time.monotonic() + 20


async def test_each_text_gets_the_heads_of_its_kind_in_order() -> None:
    async with scoring(WordRuntime()) as scorer:
        first: Scorer = scorer
        scores = await first.score([prompt("good good"), exchange("good", "bad"), prompt("bad")], soon())
    assert [list(text.heads) for text in scores] == [["request_risk"], ["response_reward"], ["request_risk"]]
    assert [text.heads[head].reward for text in scores for head in text.heads] == [2, -2, -2]
    assert scores[0].heads["request_risk"].risk < 0.2 < 0.8 < scores[2].heads["request_risk"].risk


async def test_the_worst_window_of_a_long_text_decides_and_all_of_it_is_covered() -> None:
    text = "good " * 100 + "bad " + "good " * 100
    async with scoring(WordRuntime()) as scorer:
        (scores,) = await scorer.score([prompt(text)], soon())
    head = scores.heads["request_risk"]
    assert head.reward == -2
    assert "bad" in text[head.start : head.end]
    assert scores.coverage.complete
    assert scores.coverage.tokens_total == 201
    assert scores.coverage.windows > 10


async def test_timing_is_reported_per_text() -> None:
    async with scoring(WordRuntime()) as scorer:
        (scores,) = await scorer.score([prompt("good " * 50)], soon())
    assert scores.timing.tokenize_s > 0
    assert scores.timing.forward_s > 0
    assert scores.timing.queue_s >= 0


async def test_a_prompt_and_its_candidates_are_one_submission() -> None:
    runtime = WordRuntime()
    async with scoring(runtime) as scorer:
        await scorer.score([exchange("good", "good " * 8)] * 4, soon())
    assert runtime.shapes == [(4, 12)]


async def test_no_texts_need_no_forward() -> None:
    runtime = WordRuntime()
    async with scoring(runtime) as scorer:
        assert await scorer.score([], soon()) == ()
    assert runtime.shapes == []


async def test_a_long_text_is_tokenized_off_the_event_loop() -> None:
    async with scoring(WordRuntime()) as scorer:
        loop = asyncio.get_running_loop()
        seen: list[float] = []

        async def tick() -> None:
            while True:
                seen.append(loop.time())
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        (scores,) = await scorer.score([prompt("good " * 60_000)], soon())
        ticking.cancel()
    gaps = [later - earlier for earlier, later in itertools.pairwise(seen)]
    assert scores.timing.tokenize_s > 0.02
    assert max(gaps) < scores.timing.tokenize_s


async def test_a_forward_that_outlives_the_deadline_raises() -> None:
    runtime = WordRuntime()
    async with scoring(runtime) as scorer:
        runtime.free.clear()
        with pytest.raises(DeadlineExceeded):
            await scorer.score([prompt("good")], time.monotonic() + 0.05)
        with pytest.raises(DeadlineExceeded):
            await scorer.score([prompt("good " * 5000)], time.monotonic() - 1)


async def test_a_broken_reward_raises() -> None:
    async with scoring(WordRuntime()) as scorer:
        with pytest.raises(ScoringError):
            await scorer.score([prompt("broken")], soon())


async def test_warming_up_runs_several_shapes_alone_and_together() -> None:
    runtime = WordRuntime()
    async with scoring(runtime) as scorer:
        await scorer.warm_up()
    assert len(set(runtime.shapes)) >= 4
    assert max(rows for rows, _ in runtime.shapes) > 1


@pytest.mark.parametrize("kinds", [("prompt", "exchange"), ("exchange", "exchange")])
async def test_a_sound_model_separates_and_a_blind_one_does_not(kinds: tuple[str, str]) -> None:
    async with scoring(WordRuntime(), kinds) as scorer:
        assert await scorer.separates("good", "bad")
        assert not await scorer.separates("bad", "good")
        assert not await scorer.separates("good", "bad", margin=0.9)
    async with scoring(WordRuntime(blind=True), kinds) as scorer:
        assert not await scorer.separates("good", "bad")


async def test_the_scorer_says_which_model_it_is() -> None:
    async with scoring(WordRuntime()) as scorer:
        assert (scorer.identity.name, scorer.identity.digest) == ("words", "digest")
        assert tuple(scorer.heads) == ("request_risk", "response_reward")
