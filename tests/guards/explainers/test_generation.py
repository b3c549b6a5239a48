from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from guards.errors import InvalidInput
from guards.explainers.generation import MOST_TOKENS, GeneratorExplainer

PROMPT, RESPONSE = [5, 9, 2, 11], [7, 3, 8]


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=32,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config).eval()


def test_attention_of_written_tokens_is_what_transformers_itself_gives(model: LlamaForCausalLM) -> None:
    explainer = GeneratorExplainer(model)
    eager = LlamaForCausalLM._from_config(model.config, attn_implementation="eager").eval()
    eager.load_state_dict(model.state_dict())
    with torch.inference_mode():
        expected = eager(input_ids=torch.tensor([PROMPT + RESPONSE]), output_attentions=True).attentions
    for layer in range(3):
        for head in range(4):
            given = explainer.attention(PROMPT, RESPONSE, layer, head).matrix
            np.testing.assert_allclose(given, expected[layer][0, head, 3:6].double().numpy(), atol=1e-5)


def test_rows_sum_to_one_with_and_without_the_sink(model: LlamaForCausalLM) -> None:
    explainer = GeneratorExplainer(model)
    for without_sink in (False, True):
        matrix = explainer.attention(PROMPT, RESPONSE, None, None, without_sink).matrix
        np.testing.assert_allclose(matrix.sum(-1), 1.0, atol=1e-6)
        assert matrix.shape == (3, 7)
    assert (matrix[:, 0] == 0).all()


def test_a_token_sees_nothing_that_comes_after_it(model: LlamaForCausalLM) -> None:
    matrix = GeneratorExplainer(model).attention(PROMPT, RESPONSE, None, None).matrix
    assert (np.triu(matrix[:, len(PROMPT) :]) == 0).all()


def test_a_reason_is_gradient_times_input_of_the_log_probability(model: LlamaForCausalLM) -> None:
    found = GeneratorExplainer(model).reason(PROMPT, RESPONSE, 1)
    seen = torch.tensor([[*PROMPT, RESPONSE[0]]])
    vectors = model.get_input_embeddings()(seen).detach().requires_grad_(True)
    likelihood = torch.log_softmax(model(inputs_embeds=vectors).logits[0, -1], -1)[RESPONSE[1]]
    likelihood.backward()
    assert vectors.grad is not None
    expected = (vectors.grad * vectors).sum(-1)[0].detach().numpy()
    np.testing.assert_allclose(found.values, expected, atol=1e-5)
    assert found.log_probability == pytest.approx(float(likelihood.detach()), abs=1e-5)


def test_the_serving_model_is_left_as_it_is(model: LlamaForCausalLM) -> None:
    before = model.config._attn_implementation
    GeneratorExplainer(model).attention(PROMPT, RESPONSE, 0, 0)
    assert model.config._attn_implementation == before
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    ("prompt", "response", "layer", "fault"),
    [
        ([], [1], 0, "empty"),
        ([1], [], 0, "empty"),
        ([1] * MOST_TOKENS, [1], 0, "explanations take"),
        ([1], [1], 3, "numbered from 0 to 2"),
    ],
)
def test_what_cannot_be_explained_is_refused(
    model: LlamaForCausalLM, prompt: list[int], response: list[int], layer: int, fault: str
) -> None:
    with pytest.raises(InvalidInput, match=fault):
        GeneratorExplainer(model).attention(prompt, response, layer, 0)
