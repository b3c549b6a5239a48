"""A prompt is read whole and in parts, and counts as its worst."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from guards.base import ScoreInput
from guards.normalize import normalize
from guards.rewards.export import export_onnx
from guards.rewards.manifest import PartsSpec, PoolingSpec
from guards.rewards.pooling import PartRewards, part_means, parts_present
from guards.rewards.reward_model import RewardModel, load_reward_model
from tests.guards.rewards.tiny_model import TinyModel, write_artefact

PARTS = PartsSpec(size=8, stride=3, least=2)
TEXTS = ["", "hi", "to be", "a longer text, with words. " * 3, "zz " * 60, "one two, three."]
ITEMS = [
    *(ScoreInput(normalize(text)) for text in TEXTS),
    *(ScoreInput(normalize("why not?"), normalize(text)) for text in TEXTS),
]


@pytest.fixture(scope="module")
def in_parts(tiny: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    pooling = PoolingSpec(layers=(2, 1), kinds=("mean",), parts=PARTS)
    model = TinyModel(tmp_path_factory.mktemp("parts"), tiny.encoder_dir)
    write_artefact(model.artefact_dir, model.encoder_dir, pooling=pooling)
    return model


@pytest.fixture(scope="module")
def onnx_of_parts(in_parts: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("onnx") / "parts.onnx"
    export_onnx(in_parts.artefact_dir, in_parts.encoder_dir, out)
    return out


def rewards(model: RewardModel, batch_tokens: int = 512) -> list[float]:
    return [head.reward for text in model.score(ITEMS, batch_tokens) for head in text.heads.values()]


@given(
    tokens=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    padding=st.integers(0, 9),
    stride=st.integers(1, 8),
    least=st.integers(1, 8),
)
def test_a_part_is_the_mean_of_its_own_tokens_however_the_batch_is_padded(
    tokens: list[int], padding: int, stride: int, least: int
) -> None:
    spec = PartsSpec(size=8, stride=stride, least=least)
    longest = max(tokens) + padding
    hidden = torch.randn(len(tokens), longest, 3, generator=torch.Generator().manual_seed(1))
    mask = torch.tensor([[int(at < count) for at in range(longest)] for count in tokens])
    means, present = part_means(hidden, mask, spec), parts_present(mask, spec)
    for row, count in enumerate(tokens):
        beginnings = [at for at in range(0, longest + 1, stride) if min(at + 8, count) - at >= least and count > 8]
        assert [stride * part for part in torch.nonzero(present[row]).flatten().tolist()] == beginnings
        for at in beginnings:
            own = hidden[row, at : min(at + 8, count)].mean(0)
            torch.testing.assert_close(means[row, at // stride], own, atol=1e-5, rtol=1e-5)


def test_the_worst_part_speaks_for_the_prompt_and_absent_parts_do_not() -> None:
    whole = torch.tensor([[1.0], [1.0]])
    parts = torch.tensor([[[2.0], [-3.0]], [[2.0], [-3.0]]])
    present = torch.tensor([[True, True], [True, False]])
    rewards = PartRewards(whole, parts, present)
    assert rewards.worst().flatten().tolist() == [-3.0, 1.0]
    assert rewards.deciding().flatten().tolist() == [2, 0]
    smooth = rewards.worst(smooth=True).flatten()
    assert -3.1 < smooth[0] < -3.0
    assert 0.6 < smooth[1] < 1.0


def test_a_part_that_was_chosen_speaks_even_where_another_is_worse() -> None:
    """Each member of an ensemble has its own."""
    rewards = PartRewards(torch.tensor([[1.0, 4.0]]), torch.tensor([[[2.0, -1.0], [-3.0, 5.0]]]), torch.ones(1, 2) > 0)
    assert rewards.deciding().tolist() == [[2, 1]]
    torch.testing.assert_close(rewards.of(rewards.deciding()), rewards.worst())
    assert rewards.of(torch.tensor([[1, 0]])).tolist() == [[2.0, 4.0]]
    alone = PartRewards(torch.tensor([[1.0], [2.0]]))
    assert alone.of(alone.deciding()).tolist() == alone.worst().tolist() == [[1.0], [2.0]]


def test_both_runtimes_read_parts_alike_alone_and_in_company(in_parts: TinyModel, onnx_of_parts: Path) -> None:
    with_torch = load_reward_model(in_parts.artefact_dir, in_parts.encoder_dir, "torch")
    with_onnx = load_reward_model(in_parts.artefact_dir, in_parts.encoder_dir, "onnx", onnx_of_parts)
    np.testing.assert_allclose(rewards(with_torch), rewards(with_onnx), atol=1e-4)
    np.testing.assert_allclose(rewards(with_onnx, batch_tokens=100_000), rewards(with_onnx, batch_tokens=1), atol=1e-4)


def test_parts_make_no_prompt_better_and_leave_responses_and_short_prompts_alone(in_parts: TinyModel) -> None:
    with_parts = load_reward_model(in_parts.artefact_dir, in_parts.encoder_dir, "torch")
    whole_dir = in_parts.artefact_dir / "whole"
    pooling = PoolingSpec(layers=(2, 1), kinds=("mean",))
    write_artefact(whole_dir, in_parts.encoder_dir, pooling=pooling)  # the same seed, so the same weights
    whole = rewards(load_reward_model(whole_dir, in_parts.encoder_dir, "torch"))
    worst = rewards(with_parts)
    prompts = len(TEXTS)
    assert worst[prompts:] == pytest.approx(whole[prompts:], abs=1e-6)
    assert worst[:3] == pytest.approx(whole[:3], abs=1e-6)
    assert all(low <= high + 1e-6 for low, high in zip(worst[:prompts], whole[:prompts], strict=True))
    assert any(low < high - 1e-3 for low, high in zip(worst[:prompts], whole[:prompts], strict=True))


def test_parts_are_of_means_alone() -> None:
    with pytest.raises(ValidationError, match=r"pooling\.parts goes with `kinds: \[mean\]`"):
        PoolingSpec(layers=(1,), kinds=("mean", "max"), parts=PARTS)
