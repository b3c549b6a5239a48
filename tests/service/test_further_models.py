"""Models of the settings beside the reward model, from the configuration line to the decision."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
import yaml
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from guards.base import ScoreInput
from guards.errors import ConfigError, ModelError, NotExportable
from guards.normalize import NORMALIZER_VERSION, normalize
from guards.rewards.checkpoints import onnx_export
from guards.rewards.encoding import TextEncoder
from guards.rewards.manifest import Calibration, EncoderSpec, HeadSpec, Manifest, PoolingSpec, WindowSpec
from guards.rewards.reward_model import RewardModel
from guards.rewards.runtimes.base import FloatArray, TokenBatch
from guards.types import Stage
from service.__main__ import main
from service.app import App
from service.checkpoints import open_model, pull_model
from service.config import Settings, load_settings
from service.further_models import joined_heads
from service.scoring import BatchedScorer
from tests.e2e.running import scoring_settings
from tests.fakes import write_policy
from tests.guards.rewards.checkpoints import tiny_checkpoints as tiny
from wardgate import AsyncClient
from wardgate.v1 import decision_pb2 as decisions

ZEROS = "0" * 64
WINDOW = {"window": tiny.POSITIONS, "overlap": 8}
ANSWER_BEGINS = "<|start_header_id|>assistant<|end_header_id|>\n\n"
LLAMA_GUARD = {
    "kind": "generative",
    "input": "template",
    "judges": ["request", "response"],
    "safe_answer": "safe",
    "unsafe_answer": "unsafe",
    "template": {
        "request": f"<|begin_of_text|>User: {{prompt}}{ANSWER_BEGINS}",
        "response": f"<|begin_of_text|>User: {{prompt}} Agent: {{response}}{ANSWER_BEGINS}",
    },
}
TEXTS = [f"{word} {number}" for word in ("tomato soup", "a long walk", "Why not?", "zzz") for number in range(6)]


class BombRuntime:
    """The primary: a bomb is bad, everything else is good."""

    name = "words"
    heads = ("request_risk", "response_reward")

    def forward(self, batch: TokenBatch) -> FloatArray:
        reward = np.where((batch.input_ids == 4).any(axis=1), -4.0, 4.0)
        return np.stack([reward, reward], axis=1).astype(np.float32)


def primary() -> RewardModel:
    tokenizer = Tokenizer(WordLevel({"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "bomb": 4}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    calibration = Calibration(method="platt", a=1.0, b=0.0, id="test")
    window = WindowSpec(size=16, overlap=4, context=8)
    manifest = Manifest(
        name="words",
        version="1",
        encoder=EncoderSpec(source="test:words", sha256=ZEROS, tokenizer_sha256=ZEROS),
        window=window,
        pooling=PoolingSpec(layers=(1,), kinds=("mean",)),
        normalizer=NORMALIZER_VERSION,
        heads=(
            HeadSpec(name="request_risk", input="prompt", calibration=calibration),
            HeadSpec(name="response_reward", input="exchange", calibration=calibration),
        ),
        heads_sha256=ZEROS,
    )
    return RewardModel(manifest, "digest", TextEncoder(tokenizer, window), BombRuntime())


@pytest.fixture(scope="module")
def toxic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_bert(tmp_path_factory.mktemp("toxic"), tiny.TOXIC_LABELS)


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_llama_guard(tmp_path_factory.mktemp("guard"))


@pytest.fixture(scope="module")
def reward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_qwen3_reward(tmp_path_factory.mktemp("reward"))


def toxic_entry(folder: Path, **changes: object) -> dict[str, object]:
    return {"name": "toxic", "preset": "toxic-bert", "source": f"file:{folder}", **WINDOW, **changes}


def guard_entry(folder: Path, **changes: object) -> dict[str, object]:
    return {"name": "llama", "source": f"file:{folder}", **WINDOW, **LLAMA_GUARD, **changes}


def reward_entry(folder: Path, **changes: object) -> dict[str, object]:
    return {
        "name": "skywork",
        "preset": "skywork-reward-v2-qwen3-0.6b",
        "source": f"file:{folder}",
        **WINDOW,
        **changes,
    }


def settings_of(root: Path, *models: dict[str, object], policy: str = "") -> Settings:
    (root / "policies").mkdir(exist_ok=True)
    if policy:
        write_policy(root / "policies", policy)
    return scoring_settings(
        model_cache=root / "cache",
        models=models,
        policies={"directory": root / "policies"} if policy else {},
    )


def pulled(settings: Settings) -> Settings:
    for model in settings.models:
        pull_model(settings, model, progress=False)
    return settings


def policy_of(side: str, head: str, threshold: float) -> str:
    guards = {"request": [], "response": []}
    guards[side].append({"kind": "reward", "name": "further", "head": head, "thresholds": {"block": threshold}})
    guards["request"].insert(0, {"kind": "reward", "name": "own", "head": "request_risk", "thresholds": {"block": 0.9}})
    return yaml.safe_dump({"name": "default", "version": "1", **guards})


def riskiest_and_safest(settings: Settings, head: str, response: bool) -> tuple[tuple[str, float], tuple[str, float]]:
    """By the model itself, outside of any server."""
    model = open_model(settings, settings.models[0])
    question = normalize("hm?")
    items = [ScoreInput(question, normalize(t)) if response else ScoreInput(normalize(t)) for t in TEXTS]
    risks = [text.heads[head].risk for text in model.score(items)]
    by_risk = sorted(zip(TEXTS, risks, strict=True), key=lambda pair: pair[1])
    return by_risk[-1], by_risk[0]


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[App]:
    app = App(settings, primary())
    stop = asyncio.Event()
    task = asyncio.create_task(app.run(stop))
    try:
        while not app.ready:
            assert not task.done(), task.exception()
            await asyncio.sleep(0.01)
        yield app
    finally:
        stop.set()
        await task


def client_of(app: App) -> AsyncClient:
    return AsyncClient(f"127.0.0.1:{app.server.port}")


@pytest.mark.parametrize("runtime", ["onnx", "torch"])
async def test_a_configured_classifiers_score_decides(toxic: Path, tmp_path: Path, runtime: str) -> None:
    settings = pulled(settings_of(tmp_path, toxic_entry(toxic, runtime=runtime)))
    (risky, high), (safe, low) = riskiest_and_safest(settings, "toxic.insult", response=False)
    assert high - low > 0.01
    settings = settings_of(
        tmp_path,
        toxic_entry(toxic, runtime=runtime),
        policy=policy_of("request", "toxic.insult", (high + low) / 2),
    )
    async with serving(settings) as app, client_of(app) as client:
        blocked = await client.check(risky, scores=True)
        allowed = await client.check(safe, scores=True)
    assert blocked.decision.action == decisions.ACTION_BLOCK
    assert [finding.category for finding in blocked.decision.findings] == ["toxic.insult"]
    assert blocked.decision.findings[0].risk == pytest.approx(high, abs=1e-4)
    assert allowed.decision.action == decisions.ACTION_ALLOW
    shown = {score.head: score.risk for score in allowed.scores}
    assert shown["toxic.insult"] == pytest.approx(low, abs=1e-4)
    assert {"request_risk", "toxic", "toxic.threat"} <= set(shown)
    (named,) = blocked.provenance.further_models
    assert (named.name, len(named.digest)) == ("toxic", 64)
    assert blocked.provenance.reward_model == "words"


@pytest.mark.parametrize("side", ["request", "response"])
async def test_a_configured_generative_guard_judges_either_side(guard: Path, tmp_path: Path, side: str) -> None:
    settings = pulled(settings_of(tmp_path, guard_entry(guard)))
    (risky, high), (safe, low) = riskiest_and_safest(settings, "llama", side == "response")
    assert high - low > 0.01
    settings = settings_of(tmp_path, guard_entry(guard), policy=policy_of(side, "llama", (high + low) / 2))
    async with serving(settings) as app, client_of(app) as client:
        actions = []
        for text in (risky, safe):
            asked, answers = (text, ()) if side == "request" else ("hm?", (text,))
            actions.append((await client.check(asked, responses=answers)).decision.action)
    assert actions == [decisions.ACTION_BLOCK, decisions.ACTION_ALLOW]


async def test_a_configured_reward_model_judges_responses(reward: Path, tmp_path: Path) -> None:
    settings = pulled(settings_of(tmp_path, reward_entry(reward)))
    (risky, high), (safe, low) = riskiest_and_safest(settings, "skywork", response=True)
    policy = policy_of("response", "skywork", (high + low) / 2) + "rank_by: skywork\n"
    settings = settings_of(tmp_path, reward_entry(reward), policy=policy)
    async with serving(settings) as app, client_of(app) as client:
        reply = await client.check("hm?", responses=[risky, safe], scores=True)
    assert [candidate.decision.action for candidate in reply.candidates] == [
        decisions.ACTION_BLOCK,
        decisions.ACTION_ALLOW,
    ]
    assert [candidate.rank for candidate in reply.candidates] == [0, 1]


async def test_a_model_that_fails_fails_only_its_own_guard_and_closed(
    toxic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(tmp_path, toxic_entry(toxic), policy=policy_of("request", "toxic", 0.999))
    async with serving(pulled(settings)) as app, client_of(app) as client:
        runtime = app.further.scorers["toxic"]._model.runtime

        def broken(batch: TokenBatch) -> FloatArray:
            raise RuntimeError("out of memory")

        monkeypatch.setattr(runtime, "forward", broken)
        reply = await client.check("hello there")
    assert [guard.status for guard in reply.guards] == [decisions.GUARD_STATUS_OK, decisions.GUARD_STATUS_ERROR]
    assert reply.guards[1].fail_mode_applied == decisions.FAIL_MODE_CLOSED
    assert reply.decision.action == decisions.ACTION_BLOCK
    assert reply.decision.cause == decisions.CAUSE_GUARD_FAILURE
    assert not reply.provenance.further_models


async def test_a_model_that_cannot_score_refuses_the_start(
    toxic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = pulled(settings_of(tmp_path, toxic_entry(toxic)))
    app = App(settings, primary())

    def broken(batch: TokenBatch) -> FloatArray:
        return np.full((len(batch.input_ids), 7), np.nan, dtype=np.float32)

    monkeypatch.setattr(app.further.scorers["toxic"]._model.runtime, "forward", broken)
    with pytest.raises(ModelError, match="model toxic cannot score"):
        await app.run(asyncio.Event())
    assert not app.ready


def test_a_model_that_was_not_pulled_refuses_the_start_and_names_the_mend(toxic: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model toxic is not exported.*wardgate models pull"):
        App(settings_of(tmp_path, toxic_entry(toxic)), primary())
    gone = toxic_entry(tmp_path / "gone")
    with pytest.raises(ModelError, match=r"no config\.json"):
        App(settings_of(tmp_path, gone), primary())
    hub = toxic_entry(toxic, source="hf:unitary/toxic-bert@abc123")
    with pytest.raises(ModelError, match="wardgate models pull hf:unitary/toxic-bert@abc123"):
        App(settings_of(tmp_path, hub), primary())


def test_a_head_belongs_to_one_model(toxic: Path, tmp_path: Path) -> None:
    one = toxic_entry(toxic, runtime="torch")
    other = toxic_entry(toxic, runtime="torch", name="toxic.insult", risk_labels=["threat"])
    with pytest.raises(ConfigError, match=r"two of `models` have the head 'toxic\.insult'"):
        App(settings_of(tmp_path, one, other), primary())


def test_a_further_model_cannot_take_a_head_of_the_reward_model() -> None:
    stages = frozenset((Stage.REQUEST,))
    with pytest.raises(ConfigError, match="'request_risk' is a head of the reward model"):
        joined_heads({"request_risk": stages}, {"request_risk": stages})


def test_a_network_without_a_graph_is_served_by_torch_and_the_log_says_why(
    toxic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unsupported(*_: object) -> None:
        raise RuntimeError("no such operator")

    monkeypatch.setattr(onnx_export, "trace", unsupported)
    settings = pulled(settings_of(tmp_path, toxic_entry(toxic)))
    with caplog.at_level(logging.INFO, logger="service.checkpoints"):
        model = open_model(settings, settings.models[0])
    assert model.runtime.name == "torch-cpu"
    (record,) = caplog.records
    assert record.model == "toxic"  # type: ignore[attr-defined]
    assert "no such operator" in record.why  # type: ignore[attr-defined]
    asked_for = settings_of(tmp_path, toxic_entry(toxic, runtime="onnx"))
    with pytest.raises(ModelError, match=r"no such operator.*runtime: torch"):
        open_model(asked_for, asked_for.models[0])
    (tmp_path / "fresh").mkdir()
    fresh = settings_of(tmp_path / "fresh", toxic_entry(toxic, runtime="onnx"))
    with pytest.raises(NotExportable, match="no such operator"):
        pull_model(fresh, fresh.models[0], progress=False)


def test_pull_list_verify_and_policy_validate_know_configured_models(
    toxic: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "wardgate.yaml"
    models = [toxic_entry(toxic)]
    config.write_text(yaml.safe_dump({"model_cache": str(tmp_path / "cache"), "models": models}))
    policy = write_policy(tmp_path, policy_of("response", "toxic.threat", 0.5))
    options = ["--config", str(config)]

    def run(*words: str) -> tuple[int, str]:
        code = main([*words, *options])
        streams = capsys.readouterr()
        return code, streams.out + streams.err

    assert re.search(r"toxic +unready .*model toxic is not exported", run("models", "list")[1])
    code, said = run("models", "verify", "toxic")
    assert (code, "run: wardgate models pull" in said) == (2, True)
    assert run("models", "pull", "toxic", "--quiet") == (0, f"{toxic}\n")
    assert re.search(r"toxic +ready +onnx +[0-9a-f]{12} +file:", run("models", "list")[1])
    assert run("models", "verify", "toxic")[1].startswith("toxic: served by onnx, ")
    assert run("policy", "validate", str(policy)) == (0, f"{policy}: policy 'default' version 1 is valid\n")
    (graph,) = (tmp_path / "cache").glob("toxic-onnx@*/model.onnx")
    graph.write_bytes(graph.read_bytes()[:-1])
    assert run("models", "verify", "toxic")[0] == 2


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ({"preset": "toxic-bird"}, "known: granite-guardian"),
        ({"source": "toxic-bert"}, "not a model source"),
        ({"runtime": "onnx", "device": "cuda"}, "computes on the CPU"),
        ({"windows": 3}, "windows"),
        ({"judges": ["input"]}, "'request' or 'response'"),
        ({"name": "Toxic!"}, "name"),
    ],
)
def test_a_wrong_line_is_refused_before_anything_loads(
    tmp_path: Path, entry: dict[str, object], complaint: str
) -> None:
    config = tmp_path / "wardgate.yaml"
    config.write_text(json.dumps({"models": [{"name": "t", "preset": "toxic-bert", "source": "file:/m", **entry}]}))
    with pytest.raises(ConfigError, match=complaint):
        load_settings(config)


def test_two_models_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="same name"):
        settings_of(tmp_path, toxic_entry(tmp_path), toxic_entry(tmp_path))


def test_a_key_of_the_line_outranks_its_preset(tmp_path: Path) -> None:
    (model,) = settings_of(tmp_path, toxic_entry(tmp_path, judges=["request"], window=64)).models
    assert (model.reading.judges, model.reading.window) == (frozenset({"request"}), 64)
    assert model.reading.activation == "sigmoid"


async def test_texts_that_no_head_judges_cost_no_forward(reward: Path, tmp_path: Path) -> None:
    settings = pulled(settings_of(tmp_path, reward_entry(reward)))
    app = App(settings, primary())
    scorer: BatchedScorer = app.further.scorers["skywork"]
    try:
        asked, answered = await scorer.score(
            [ScoreInput(normalize("hi")), ScoreInput(normalize("hi"), normalize("yes"))],
            asyncio.get_running_loop().time() + 60,
        )
    finally:
        await app.close_scoring(0)
    assert (asked.heads, asked.coverage.windows) == ({}, 0)
    assert set(answered.heads) == {"skywork"}
