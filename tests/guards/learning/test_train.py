"""The whole road on a tiny encoder: read, make up, encode, cross-fit, calibrate, write, load, evaluate."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.torch import load_file

from guards.base import ScoreInput
from guards.errors import ConfigError, InvalidInput, ModelError, UnknownName
from guards.learning.evaluate import evaluate_file
from guards.learning.train import held_out_scores, train_reward
from guards.normalize import normalize
from guards.rewards.export import export_onnx
from guards.rewards.manifest import HEADS_FILE, Manifest, file_sha256
from guards.rewards.reward_model import RewardModel, load_reward_model
from tests.guards.rewards.tiny_model import write_encoder

PAIRED = ["pairs", "replies_0_pairs", "replies_1_pairs"]
GOOD, BAD = ("bake a cake", "read a book", "sing a song"), ("zap the cat", "zap a man", "zap it all")


def turns(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def write_data(folder: Path) -> None:
    prompts, responses, pairs = [], [], []
    for number in range(12):
        source = f"prompts_{number % 2}"
        for label, texts in ((0, GOOD), (1, BAD)):
            text = f"{texts[number % 3]} {number}"
            prompts.append({"prompt": text, "label": label, "source": source})
            reply = {"messages": turns(f"do {number}"), "response": text, "label": label}
            responses.append({**reply, "source": f"replies_{number % 2}"})
        pairs.append({"messages": turns(f"try {number}"), "chosen": GOOD[number % 3], "rejected": BAD[number % 3]})
    for name, rows in (("prompts", prompts), ("responses", responses), ("pairs", pairs)):
        (folder / f"{name}.jsonl").write_text("\n".join(json.dumps(row) for row in rows))


def write_recipe(folder: Path, encoder_dir: Path) -> Path:
    write_data(folder)
    anchor = [{"prompt": f"row {number} {GOOD[number % 3]}", "label": 0} for number in range(6)]
    # of several sentences, and of several windows
    anchor += [{"prompt": f"row {BAD[n % 3]}. {GOOD[n % 3]} {n}. " * (1 + 2 * (n % 2)), "label": 1} for n in range(6)]
    anchor += [{"messages": turns("so"), "response": f"row {n} {BAD[n % 3]}", "label": 1} for n in range(6)]
    (folder / "anchor.jsonl").write_text("\n".join(json.dumps(row) for row in anchor))
    recipe = {
        "name": "tiny",
        "version": "1",
        "seed": 3,
        "encoder": {
            "source": "test:tiny",
            "sha256": file_sha256(encoder_dir / "model.safetensors"),
            "tokenizer_sha256": file_sha256(encoder_dir / "tokenizer.json"),
        },
        "window": {"size": 40, "overlap": 4, "context": 8, "sentences": {"least": 4, "from_tokens": 10}},
        "max_windows": 2,
        "pooling": {"layers": [2], "kinds": ["mean"]},
        "adapter": {"rank": 2, "alpha": 4, "first_layer": 1},
        "anchor": "anchor.jsonl",
        "files": [
            {"path": "prompts.jsonl", "licence": "MIT"},
            {"path": "responses.jsonl", "licence": "MIT"},
            {"path": "pairs.jsonl", "licence": "MIT", "parts": 2},
        ],
        "made": {"prompts_per_family": 0, "everyday": 0, "harmful_requests": 0},
        "heads": {
            "request_risk": {"input": "prompt", "labels": 48, "hidden": 8},
            "response_reward": {"input": "exchange", "labels": 48, "pairs": 24, "pair_sources": PAIRED, "hidden": 8},
            "helpfulness": {"input": "exchange", "pairs": 24, "pair_sources": ["pairs"], "hidden": 4},
        },
        "training": {
            "epochs": 6,
            "batch_tokens": 512,
            "learning_rate": 0.01,
            "head_learning_rate": 0.02,
            "members": 2,
            "dropout": 0.1,
            "margins": {"pairs": 0.5},
        },
        "folds": [
            {"name": "zero", "sources": ["prompts_0", "replies_0", "replies_0_pairs", "pairs#1"]},
            {"name": "one", "sources": ["prompts_1", "replies_1", "replies_1_pairs", "pairs#2"]},
        ],
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


@pytest.fixture(scope="module")
def encoder_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder") / "tiny"
    write_encoder(folder)
    return folder


def quiet(what: str, done: int, total: int) -> None:
    assert 0 <= done <= total, what


@pytest.fixture(scope="module")
def trained(encoder_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    folder = tmp_path_factory.mktemp("training")
    out = folder / "out"
    return out, train_reward(write_recipe(folder, encoder_dir), out, encoder_dir, folder / "cache", 1, quiet)


@pytest.fixture(scope="module")
def model(trained: tuple[Path, Manifest], encoder_dir: Path) -> RewardModel:
    return load_reward_model(trained[0], encoder_dir, "torch")


def test_the_same_recipe_gives_the_same_bytes(
    trained: tuple[Path, Manifest], encoder_dir: Path, tmp_path: Path
) -> None:
    train_reward(write_recipe(tmp_path, encoder_dir), tmp_path / "out", encoder_dir, tmp_path / "cache", 1, quiet)
    for name in ("heads.safetensors", "manifest.json"):
        assert (tmp_path / "out" / name).read_bytes() == (trained[0] / name).read_bytes()


def test_what_was_learned_shows_in_both_heads(model: RewardModel) -> None:
    safe, risky = model.score([ScoreInput(normalize("bake a book")), ScoreInput(normalize("zap the man"))])
    assert safe.heads["request_risk"].risk < risky.heads["request_risk"].risk
    prompt = normalize("do 3")
    kind, cruel = model.score([ScoreInput(prompt, normalize("sing a cake")), ScoreInput(prompt, normalize("zap it"))])
    assert kind.heads["response_reward"].reward > cruel.heads["response_reward"].reward


def test_a_trained_model_exports_and_loads_with_its_own_digest(
    trained: tuple[Path, Manifest], model: RewardModel, encoder_dir: Path, tmp_path: Path
) -> None:
    export_onnx(trained[0], encoder_dir, tmp_path / "model.onnx")
    exported = load_reward_model(trained[0], encoder_dir, "onnx", tmp_path / "model.onnx")
    assert exported.identity == model.identity


def test_the_manifest_tells_what_it_was_trained_on_and_how_good_it_is(trained: tuple[Path, Manifest]) -> None:
    manifest = trained[1]
    assert {file.path for file in manifest.training} >= {"data/prompts.jsonl", "data/pairs.jsonl", "made"}
    figures = {(figure.source, figure.metric) for head in manifest.heads for figure in head.held_out}
    assert {("prompts_0", "auroc"), ("replies_1", "auroc"), ("pairs#1", "accuracy")} <= figures
    assert all(figure.low <= figure.value <= figure.high for head in manifest.heads for figure in head.held_out)


def test_labels_and_pairs_are_evaluated_by_their_own_measures(
    trained: tuple[Path, Manifest], model: RewardModel
) -> None:
    folder = trained[0].parent
    by_label = evaluate_file(model, folder / "prompts.jsonl", "request_risk", 0.5)
    by_pair = evaluate_file(model, folder / "pairs.jsonl", "response_reward")
    assert set(by_label["metrics"]) == {
        "auroc",
        "f1",
        "recall",
        "false_positive_rate",
        "ece",
        "length_correlation",
    }
    assert by_label["metrics"]["auroc"]["value"] > 0.9
    assert by_label["n"] == 24
    assert set(by_pair["metrics"]) == {"accuracy"}
    json.dumps(by_label)


def test_rows_with_a_category_are_also_measured_by_category(model: RewardModel, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [
        {"prompt": text, "label": label, "category": f"class {label}"}
        for label in (0, 1)
        for text in (GOOD, BAD)[label]
    ]
    path.write_text("\n".join(json.dumps(row) for row in [*rows, {"prompt": "read", "label": 0}]))
    report = evaluate_file(model, path, "request_risk", 0.5)
    assert set(report["categories"]) == {"class 0", "class 1"}
    assert report["categories"]["class 1"]["n"] == 3
    assert set(report["categories"]["class 1"]["metrics"]) == {"f1", "recall"}
    assert report["metrics"]["false_positive_rate"]["n"] == 4


def test_the_halves_of_refusal_pairs_are_told_apart_by_their_rows_or_their_words(
    model: RewardModel, tmp_path: Path
) -> None:
    refusal = "I can't help with that."
    pairs: list[dict[str, object]] = [
        {"chosen": "sing a song", "rejected": refusal},
        {"chosen": refusal, "rejected": "zap it all"},
        {"chosen": "bake a cake", "rejected": "zap a man", "half": "unsafe"},
        {"chosen": "bake a cake", "rejected": "zap a man"},
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(json.dumps({"messages": turns("do it"), **pair}) for pair in pairs))
    metrics = evaluate_file(model, path, "response_reward")["metrics"]
    assert {name: figure["n"] for name, figure in metrics.items()} == {
        "accuracy": 4,
        "accuracy_safe": 1,
        "accuracy_unsafe": 2,
    }


def test_a_measure_that_needs_the_missing_class_is_left_out(model: RewardModel, tmp_path: Path) -> None:
    path = tmp_path / "safe.jsonl"
    path.write_text("\n".join(json.dumps({"prompt": text, "label": 0}) for text in GOOD))
    assert set(evaluate_file(model, path, "request_risk", 0.5)["metrics"]) == {"false_positive_rate"}


def test_a_file_that_does_not_suit_the_head_is_refused(model: RewardModel, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"prompt": "hi", "label": 0}))
    with pytest.raises(InvalidInput, match="other kind"):
        evaluate_file(model, path, "response_reward", 0.5)
    with pytest.raises(UnknownName, match="request_risk"):
        evaluate_file(model, path, "absent", 0.5)


def test_a_source_in_no_fold_is_refused_before_training(encoder_dir: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, encoder_dir)
    recipe.write_text(recipe.read_text().replace("- prompts_1", "- prompts_9"))
    with pytest.raises(InvalidInput, match="prompts_1"):
        train_reward(recipe, tmp_path / "out", encoder_dir, tmp_path / "cache", 1, quiet)


def test_a_recipe_with_an_unknown_key_is_refused(encoder_dir: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, encoder_dir)
    recipe.write_text(recipe.read_text() + "surprise: 1\n")
    with pytest.raises(ConfigError, match="surprise"):
        train_reward(recipe, tmp_path / "out", encoder_dir, tmp_path / "cache", 1, quiet)


def test_a_recipe_whose_heads_alone_learn_from_an_unknown_source_is_refused(encoder_dir: Path, tmp_path: Path) -> None:
    recipe = changed(write_recipe(tmp_path, encoder_dir), heads_only=["pears"])
    with pytest.raises(ConfigError, match="heads_only names pears"):
        train_reward(recipe, tmp_path / "out", encoder_dir, tmp_path / "cache", 1, quiet)


def changed(recipe: Path, **training: object) -> Path:
    """With these keys in its training."""
    document = yaml.safe_load(recipe.read_text())
    document["training"] |= training
    recipe.write_text(yaml.safe_dump(document))
    return recipe


@pytest.mark.parametrize("heads_only", [False, True])
def test_pairs_for_the_heads_alone_teach_the_head_and_leave_the_adapter(
    encoder_dir: Path, tmp_path: Path, heads_only: bool
) -> None:
    recipe = write_recipe(tmp_path, encoder_dir)
    document = yaml.safe_load(recipe.read_text())
    document["heads"] = {"helpfulness": document["heads"]["helpfulness"]}
    recipe.write_text(yaml.safe_dump(document))
    changed(recipe, heads_only=["pairs"] if heads_only else [])
    train_reward(recipe, tmp_path / "out", encoder_dir, tmp_path / "cache", 1, quiet)
    tensors = load_file(tmp_path / "out" / HEADS_FILE)
    change = [float(part.abs().max()) for name, part in tensors.items() if name.startswith("adapter.") and ".b" in name]
    assert change
    assert (max(change) == 0) is heads_only  # it begins at zero
    head = load_reward_model(tmp_path / "out", encoder_dir, "torch")
    prompt = normalize("try 3")
    kind, cruel = head.score(
        [ScoreInput(prompt, normalize("sing a song")), ScoreInput(prompt, normalize("zap it all"))]
    )
    assert kind.heads["helpfulness"].reward > cruel.heads["helpfulness"].reward


def test_labels_on_which_readers_differ_teach_a_reward_between_and_measure_nothing(
    encoder_dir: Path, tmp_path: Path
) -> None:
    recipe = changed(write_recipe(tmp_path, encoder_dir), epochs=40)
    rows = [
        {"messages": turns(f"try {n}"), "response": f"{word} {n}", "label": label, "source": f"replies_{n % 2}"}
        for n in range(12)
        for word, label in (("sing", 0), ("bake", 0.5), ("zap", 1))
    ]
    (tmp_path / "responses.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    train_reward(recipe, tmp_path / "out", encoder_dir, tmp_path / "cache", 1, quiet)
    head = load_reward_model(tmp_path / "out", encoder_dir, "torch")
    scored = head.score([ScoreInput(normalize("try 3"), normalize(f"{word} 3")) for word in ("sing", "bake", "zap")])
    kind, between, cruel = (text.heads["response_reward"].reward for text in scored)
    assert kind > between > cruel
    scores = held_out_scores(recipe, encoder_dir, tmp_path / "cache", 1, quiet)
    assert Counter(row.label for row in scores.rows if row.head == "response_reward") == {0: 12, 1: 12}


def test_a_head_has_as_many_hidden_units_as_it_asks_for(trained: tuple[Path, Manifest]) -> None:
    tensors = load_file(trained[0] / HEADS_FILE)
    units = {name: tensors[f"{name}.outer"].shape for name in ("request_risk", "response_reward", "helpfulness")}
    assert units == {"request_risk": (2, 8), "response_reward": (2, 8), "helpfulness": (2, 4)}


def test_a_run_that_was_stopped_goes_on_where_it_was(encoder_dir: Path, tmp_path: Path) -> None:
    recipe, cache = write_recipe(tmp_path, encoder_dir), tmp_path / "cache"
    train_reward(recipe, tmp_path / "whole", encoder_dir, cache, 1, quiet)
    fits = sorted((cache / "fits").iterdir())
    assert len(fits) == 3  # two folds and the network that is kept
    fits[0].unlink()
    kept = {path: path.stat().st_mtime_ns for path in fits[1:]}
    train_reward(recipe, tmp_path / "again", encoder_dir, cache, 1, quiet)
    assert {path: path.stat().st_mtime_ns for path in fits[1:]} == kept
    for name in ("heads.safetensors", "manifest.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_more_seeds_change_the_figures_and_not_the_network(
    trained: tuple[Path, Manifest], encoder_dir: Path, tmp_path: Path
) -> None:
    manifest = train_reward(
        write_recipe(tmp_path, encoder_dir), tmp_path / "out", encoder_dir, tmp_path / "cache", 2, quiet
    )
    assert manifest.heads_sha256 == trained[1].heads_sha256
    for head, before in zip(manifest.heads, trained[1].heads, strict=True):
        assert head.calibration == before.calibration
    assert manifest.heads != trained[1].heads


def test_held_out_scores_have_every_row_once_a_seed(encoder_dir: Path, tmp_path: Path) -> None:
    scores = held_out_scores(write_recipe(tmp_path, encoder_dir), encoder_dir, tmp_path / "cache", 2, quiet)
    assert scores.seeds == (3, 4)
    assert Counter((row.head, row.seed) for row in scores.rows) == {
        (head, seed): 24 for head in ("request_risk", "response_reward") for seed in (3, 4)
    }
    assert {pair.source for pair in scores.pairs if pair.head == "helpfulness"} == {"pairs#1", "pairs#2"}
    assert all(0 < row.tokens < 60 and 0 <= row.risk <= 1 for row in scores.rows)


def test_rewards_on_the_anchor_have_mean_0_and_deviation_2_sentences_and_all(
    trained: tuple[Path, Manifest], model: RewardModel
) -> None:
    rows = [json.loads(line) for line in (trained[0].parent / "anchor.jsonl").read_text().splitlines()]
    prompts = [ScoreInput(normalize(row["prompt"])) for row in rows if "prompt" in row]
    replies = [ScoreInput(normalize("so"), normalize(row["response"])) for row in rows if "response" in row]
    for head, items in (("request_risk", prompts), ("response_reward", replies), ("helpfulness", replies)):
        rewards = np.array([text.heads[head].reward for text in model.score(items)])
        assert abs(rewards.mean()) < 0.1  # training computes in bfloat16
        assert abs(rewards.std() - 2.0) < 0.1


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("pair_sources: [absent]", "wants pairs"),
        ("first_layer: 5", "5"),
        ("anchor: pairs.jsonl", "anchor"),
    ],
)
def test_a_recipe_that_cannot_be_learned_says_why(encoder_dir: Path, tmp_path: Path, change: str, fault: str) -> None:
    recipe = write_recipe(tmp_path, encoder_dir)
    document = yaml.safe_load(recipe.read_text())
    name, _, value = change.partition(": ")
    place = {"pair_sources": document["heads"]["helpfulness"], "first_layer": document["adapter"]}.get(name, document)
    place[name] = yaml.safe_load(value)
    if name == "first_layer":
        document["pooling"]["layers"] = [5]
    recipe.write_text(yaml.safe_dump(document))
    with pytest.raises((InvalidInput, ModelError), match=fault):
        train_reward(recipe, tmp_path / "out", encoder_dir, tmp_path / "cache", 1, quiet)


def test_another_anchor_is_another_fit(encoder_dir: Path, tmp_path: Path) -> None:
    recipe, cache = write_recipe(tmp_path, encoder_dir), tmp_path / "cache"
    train_reward(recipe, tmp_path / "out", encoder_dir, cache, 1, quiet)
    anchor = tmp_path / "anchor.jsonl"
    anchor.write_text(anchor.read_text() + "\n" + json.dumps({"prompt": "one more", "label": 0}))
    train_reward(recipe, tmp_path / "again", encoder_dir, cache, 1, quiet)
    assert len(list((cache / "fits").iterdir())) == 6
