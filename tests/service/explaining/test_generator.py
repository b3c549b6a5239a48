"""How the wrapped model wrote a response, by the real one."""

from __future__ import annotations

import numpy as np
import pytest

from guards.errors import InvalidInput, ModelError
from guards.types import Message, Role, TextPart
from service.config import load_settings
from service.explaining.generator import Generator
from service.explaining.work import MOST_GENERATION_WEIGHTS, AttentionChoice, GenerationWork

pytestmark = pytest.mark.models

ASKED = (Message(Role.USER, (TextPart("What is the capital of France?"),)),)


@pytest.fixture(scope="module")
def generator() -> Generator:
    try:
        return Generator.load(load_settings(None).model_cache, "smollm2-135m-instruct")
    except ModelError as error:
        pytest.skip(f"the embedded models are not in the cache: {error}")


def work(response: str, position: int | None, attention: AttentionChoice | None) -> GenerationWork:
    return GenerationWork(ASKED, response, position, attention, without_sink=True)


def test_attention_and_reasons_go_back_to_the_prompt(generator: Generator) -> None:
    found = generator.explain(work("The capital is Paris.", 3, AttentionChoice(layer=5)))
    assert "".join(found.response_tokens) == "The capital is Paris."
    assert "France" in "".join(found.prompt_tokens)
    prompt, response = len(found.prompt_tokens), len(found.response_tokens)
    assert found.weights is not None
    assert found.weights.shape == (response, prompt + response)
    np.testing.assert_allclose(found.weights.sum(-1), 1.0, atol=1e-6)
    assert found.values is not None
    assert len(found.values) == prompt + 3
    assert found.log_probability is not None
    assert found.log_probability < 0


def test_what_was_not_asked_for_is_not_computed(generator: Generator) -> None:
    found = generator.explain(work("Paris", None, AttentionChoice(0, 0)))
    assert found.values is None
    assert found.log_probability is None


def test_too_large_a_map_is_refused_with_the_limit(generator: Generator) -> None:
    with pytest.raises(InvalidInput, match=str(MOST_GENERATION_WEIGHTS)):
        generator.explain(work("word " * 400, None, AttentionChoice()))
