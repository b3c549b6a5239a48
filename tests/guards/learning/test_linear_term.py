"""A linear map beside a head: what it learns, what it leaves alone, and that serving sees one network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.torch import load_file
from sklearn.linear_model import Ridge
from torch import Tensor

from guards.base import ScoreInput
from guards.errors import ConfigError, InvalidInput
from guards.learning.heldout import HeldOutScores
from guards.learning.linear_term import Lesson, solve
from guards.learning.recipe import LinearTerm, load_recipe
from guards.learning.train import held_out_scores, train_reward
from guards.normalize import normalize
from guards.rewards.export import export_onnx
from guards.rewards.manifest import HEADS_FILE
from guards.rewards.reward_model import load_reward_model
from tests.guards.learning.test_train import quiet, write_recipe
from tests.guards.rewards.tiny_model import write_encoder

HEAD = "response_reward"
TASTE = {"sources": ["taste"], "share": 0.5}


def lesson(seed: int, rows: int, features: int) -> Lesson:
    generator = np.random.default_rng(seed)
    return Lesson(
        generator.normal(size=(rows, features)), generator.normal(size=rows), generator.uniform(0.5, 1.5, rows)
    )


def nothing(features: int) -> Lesson:
    return Lesson(np.empty((0, features)), np.empty(0), np.empty(0))


def test_without_pairs_and_others_it_is_ridge_regression() -> None:
    labels = lesson(0, 40, 6)
    found = solve(labels, nothing(6), [nothing(6)], LinearTerm(sources=("x",), share=0.1, ridge=2.0))
    ridge = Ridge(alpha=2.0).fit(labels.features, labels.targets, sample_weight=labels.weights)
    assert np.allclose(found, ridge.coef_)


def test_a_pair_is_a_row_of_differences_that_should_come_to_1() -> None:
    labels, pairs = lesson(0, 40, 6), lesson(1, 30, 6)
    pairs = Lesson(pairs.features, np.ones(30), pairs.weights)
    found = solve(labels, pairs, [], LinearTerm(sources=("x",), share=0.1, ridge=2.0, pairs=3.0))
    both = labels.centred()
    ridge = Ridge(alpha=2.0, fit_intercept=False).fit(
        np.concatenate([both.features, pairs.features]),
        np.concatenate([both.targets, pairs.targets]),
        sample_weight=np.concatenate([both.weights, 3.0 * pairs.weights]),
    )
    assert np.allclose(found, ridge.coef_)


def test_it_moves_where_other_rows_do_not_differ() -> None:
    labels = lesson(0, 400, 2)
    labels = Lesson(labels.features, labels.features.sum(1), labels.weights)  # either feature tells as much
    others = Lesson(np.array([[5.0, 0.0], [-5.0, 0.0]] * 50), np.zeros(100), np.ones(100))
    spec = LinearTerm(sources=("x",), share=0.1, ridge=1.0, others=10.0)
    alone, beside = (solve(labels, nothing(2), which, spec) for which in ([], [others]))
    assert np.allclose(alone, 1.0, atol=0.05)
    assert abs(beside[0]) < 0.05
    assert beside[1] > 0.9


@pytest.fixture(scope="module")
def encoder_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder") / "tiny"
    write_encoder(folder)
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of fits: these tests' recipes differ in what is done with them."""
    return tmp_path_factory.mktemp("cache")


def write_taste(folder: Path, encoder_dir: Path, linear: dict[str, Any] | None, **changes: Any) -> Path:
    """The recipe of the other tests and one more source: people there would rather be sung to than get a cake."""
    folder.mkdir(exist_ok=True)
    path = write_recipe(folder, encoder_dir)
    rows: list[dict[str, Any]] = []
    for number in range(16):
        asked = [{"role": "user", "content": f"pick {number}"}]
        rows += [
            {"messages": asked, "response": f"{text} {number}", "label": label, "source": "taste"}
            for text, label in (("sing a song", 0), ("bake a cake", 1))
        ]
        rows.append(
            {"messages": asked, "chosen": f"sing it {number}", "rejected": f"bake it {number}", "source": "taste"}
        )
    (folder / "taste.jsonl").write_text("\n".join(map(json.dumps, rows)))
    recipe = yaml.safe_load(path.read_text())
    recipe["pooling"]["layers"] = [1, 2]
    recipe["training"]["first_epoch"] = recipe["training"]["epochs"]  # a term may not change which one is best
    recipe["files"].append({"path": "taste.jsonl", "licence": "MIT", "parts": 2})
    recipe["heads"][HEAD]["pair_sources"].append("taste")
    recipe["weights"] = {"taste": 0.001}  # the network itself sees one of them in an epoch
    for fold, part in zip(recipe["folds"], ("taste#1", "taste#2"), strict=True):
        fold["sources"].append(part)
    if linear:
        recipe["heads"][HEAD]["linear"] = linear
    path.write_text(yaml.safe_dump({**recipe, **changes}))
    return path


def tensors_of(recipe: Path, encoder_dir: Path, cache: Path) -> dict[str, Tensor]:
    out = recipe.parent / "out"
    train_reward(recipe, out, encoder_dir, cache, 1, quiet)
    return load_file(out / HEADS_FILE)


def gaps(scores: HeldOutScores) -> np.ndarray:
    """How much better the reply is that people there prefer, in units of reward."""
    return np.array([p.chosen - p.rejected for p in scores.pairs if p.head == HEAD and p.source.startswith("taste")])


def test_a_term_changes_its_head_alone_and_is_two_hidden_units_more(
    encoder_dir: Path, cache: Path, tmp_path: Path
) -> None:
    plain = tensors_of(write_taste(tmp_path / "plain", encoder_dir, None), encoder_dir, cache)
    with_it = tensors_of(write_taste(tmp_path / "term", encoder_dir, TASTE), encoder_dir, cache)
    assert plain.keys() == with_it.keys()
    changed = {
        name for name in plain if plain[name].shape != with_it[name].shape or not plain[name].equal(with_it[name])
    }
    assert changed == {f"{HEAD}.{part}" for part in ("inner.weight", "inner.bias", "outer", "offset")}
    members, units = plain[f"{HEAD}.outer"].shape
    assert with_it[f"{HEAD}.outer"].shape == (members, units + 2)


def test_a_fit_is_used_again_under_another_term_version_or_threshold(encoder_dir: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    tensors_of(write_taste(tmp_path / "plain", encoder_dir, None), encoder_dir, cache)
    fits = {path: path.stat().st_mtime_ns for path in (cache / "fits").iterdir()}
    assert len(fits) == 3
    renamed = write_taste(tmp_path / "renamed", encoder_dir, None, version="2")
    renamed.write_text(renamed.read_text().replace("hidden: 8", "hidden: 8\n    threshold: 0.9"))
    assert load_recipe(renamed)[0].heads[HEAD].threshold == 0.9
    tensors_of(renamed, encoder_dir, cache)
    assert {path: path.stat().st_mtime_ns for path in (cache / "fits").iterdir()} == fits
    tensors_of(write_taste(tmp_path / "term", encoder_dir, TASTE), encoder_dir, cache)
    assert {path: path.stat().st_mtime_ns for path in fits} == fits
    assert len(list((cache / "fits").iterdir())) == 6


def test_what_few_rows_teach_is_known_of_rows_that_were_held_out(
    encoder_dir: Path, cache: Path, tmp_path: Path
) -> None:
    plain, with_it = (
        gaps(held_out_scores(write_taste(tmp_path / name, encoder_dir, linear), encoder_dir, cache, 1, quiet))
        for name, linear in (("plain", None), ("term", TASTE))
    )
    assert len(plain) == 16
    assert np.all(with_it > 0)
    assert np.all(with_it > plain)


def test_onnx_and_torch_serve_the_same_rewards(encoder_dir: Path, cache: Path, tmp_path: Path) -> None:
    recipe = write_taste(tmp_path / "term", encoder_dir, TASTE)
    tensors_of(recipe, encoder_dir, cache)
    out = recipe.parent / "out"
    items = [ScoreInput(normalize("pick 3"), normalize(f"{word} it 3")) for word in ("sing", "bake", "zap")]
    torch_model = load_reward_model(out, encoder_dir, "torch")
    export_onnx(out, encoder_dir, out / "model.onnx")
    onnx_model = load_reward_model(out, encoder_dir, "onnx", out / "model.onnx")
    one, other = ([text.heads[HEAD].reward for text in model.score(items)] for model in (torch_model, onnx_model))
    assert np.allclose(one, other, atol=1e-3)
    assert one[0] > one[1]


@pytest.mark.parametrize(
    ("linear", "fault"),
    [
        ({"sources": ["nobody"], "share": 0.1}, "nobody, and these have no pairs"),
        ({"sources": ["pairs"], "share": 0.1}, "pairs, and these have no labels"),
    ],
)
def test_a_term_that_nothing_teaches_is_refused(
    encoder_dir: Path, cache: Path, tmp_path: Path, linear: dict[str, Any], fault: str
) -> None:
    with pytest.raises(InvalidInput, match=fault):
        tensors_of(write_taste(tmp_path / "term", encoder_dir, linear), encoder_dir, cache)


def test_a_recipe_whose_term_cannot_be_had_says_why(encoder_dir: Path, tmp_path: Path) -> None:
    path = write_taste(tmp_path / "term", encoder_dir, TASTE)
    document = yaml.safe_load(path.read_text())
    document["pooling"]["layers"] = [2]
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(ConfigError, match=r"pooling\.layers needs adapter\.first_layer"):
        load_recipe(path)
    document["pooling"]["layers"] = [1, 2]
    document["heads"]["request_risk"]["linear"] = TASTE
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(ConfigError, match="linear needs a head with labels and pairs"):
        load_recipe(path)
