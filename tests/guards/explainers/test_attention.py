from __future__ import annotations

import numpy as np
import pytest
import torch

from guards.errors import InvalidInput
from guards.explainers.base import Budget
from guards.explainers.explained_head import eager_twin
from guards.explainers.gradient_attention import GradientAttention
from guards.explainers.raw_attention import RawAttention, attention_matrix, attention_tensors
from guards.explainers.rollout import Rollout, rollout_matrix
from guards.rewards.torch_model import load_encoder
from tests.guards.explainers.conftest import Opened

TEXT = "what is this, a longer one?"


def test_attention_is_what_transformers_itself_gives(small: Opened) -> None:
    """The adapter is folded in, so the same network is read with transformers' own eager attention."""
    window = small.window(TEXT)
    twin = eager_twin(small.network)
    with torch.inference_mode():
        own = twin.pooled.encoder(
            input_ids=torch.from_numpy(window.ids)[None],
            attention_mask=torch.from_numpy(window.mask)[None],
            token_type_ids=torch.from_numpy(window.segments)[None],
            output_attentions=True,
        ).attentions
    for given, expected in zip(attention_tensors(small.head("request_risk"), window), own, strict=True):
        torch.testing.assert_close(given, expected[0], atol=1e-5, rtol=0)


def test_an_unadapted_layer_attends_as_the_encoder_on_disk(small: Opened) -> None:
    window = small.window(TEXT)
    encoder = load_encoder(small.encoder_dir, attention="eager")
    with torch.inference_mode():
        expected = encoder(input_ids=torch.from_numpy(window.ids)[None], output_attentions=True).attentions[0][0]
    torch.testing.assert_close(attention_tensors(small.head("request_risk"), window)[0], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("layer", "head"), [(None, None), (0, None), (1, 3), (None, 2)])
def test_rows_of_attention_sum_to_one(small: Opened, layer: int | None, head: int | None) -> None:
    matrix = attention_matrix(small.head("request_risk"), small.window(TEXT), layer, head)
    np.testing.assert_allclose(matrix.sum(-1), 1.0, atol=1e-5)


def test_rows_of_rollout_sum_to_one(small: Opened) -> None:
    np.testing.assert_allclose(rollout_matrix(small.head("request_risk"), small.window(TEXT)).sum(-1), 1.0, atol=1e-5)


@pytest.mark.parametrize(("layer", "head"), [(2, 0), (-1, 0), (0, 4)])
def test_a_layer_or_head_that_is_not_there_is_named(small: Opened, layer: int, head: int) -> None:
    with pytest.raises(InvalidInput, match="numbered from 0 to"):
        attention_matrix(small.head("request_risk"), small.window(TEXT), layer, head)


def test_the_twin_shares_every_weight_and_leaves_the_network_alone(small: Opened) -> None:
    twin = eager_twin(small.network)
    mine = dict(small.network.named_parameters())
    assert {name: one.data_ptr() for name, one in twin.named_parameters()} == {
        name: one.data_ptr() for name, one in mine.items()
    }
    assert small.network.pooled.encoder.config._attn_implementation == "sdpa"
    assert twin.pooled.encoder.config._attn_implementation == "eager"


def test_the_twin_scores_as_the_network(small: Opened) -> None:
    window = small.window("why not?", "a longer text, with words.")
    parts = [torch.from_numpy(part)[None] for part in (window.ids, window.mask, window.segments)]
    with torch.inference_mode():
        torch.testing.assert_close(eager_twin(small.network)(*parts), small.network(*parts), atol=1e-5, rtol=0)


@pytest.mark.parametrize("method", [RawAttention(), RawAttention(1, 2), Rollout(), GradientAttention()])
def test_padding_gets_nothing_and_changes_nothing(
    small: Opened, method: RawAttention | Rollout | GradientAttention
) -> None:
    head, window = small.head("request_risk"), small.window("hi there")
    alone = method.attribute(head, window, Budget()).values
    padded = method.attribute(head, window.padded(len(window.ids) + 5), Budget()).values
    np.testing.assert_allclose(padded[: len(window.ids)], alone, atol=1e-6)
    assert (padded[len(window.ids) :] == 0.0).all()


def test_special_tokens_get_nothing(small: Opened) -> None:
    window = small.window("why not?", "because")
    values = Rollout().attribute(small.head("response_reward"), window, Budget()).values
    assert (values[~window.own] == 0.0).all()
    assert (values[window.own] > 0.0).all()
