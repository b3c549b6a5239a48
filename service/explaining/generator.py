"""The wrapped model's own copy in the explaining process: how it wrote a response. Needs torch."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, AutoTokenizer

from guards.errors import FieldViolation, InvalidInput, ModelError
from guards.explainers.generation import GeneratorExplainer
from service.backends.chat_prompt import ChatPrompt
from service.explaining.work import MOST_GENERATION_WEIGHTS, GenerationExplained, GenerationWork
from service.models import ModelCache


class Generator:
    """In float32, whatever the serving copy computes in: gradients in bfloat16 are noise."""

    def __init__(self, explainer: GeneratorExplainer, tokenizer: Any) -> None:
        self._explainer = explainer
        self._tokenizer = tokenizer
        self._prompt = ChatPrompt(tokenizer)

    @classmethod
    def load(cls, model_cache: Path, name: str) -> Generator:
        """Raises ModelError when its files are missing or damaged."""
        folder = ModelCache(model_cache).path(name)
        from_disk: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, **from_disk)
            model: Any = AutoModelForCausalLM.from_pretrained(
                folder, dtype="float32", attn_implementation="sdpa", use_safetensors=True, **from_disk
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise ModelError(f"model {name} cannot be loaded to explain it: {type(error).__name__}") from error
        return cls(GeneratorExplainer(model.eval()), tokenizer)

    def explain(self, work: GenerationWork) -> GenerationExplained:
        """Raises InvalidInput for a position, layer or head that is not there, and for too many tokens."""
        started = time.monotonic()
        prompt = self._prompt.tokens(work.messages)
        response = list(self._tokenizer.backend_tokenizer.encode(work.response, add_special_tokens=False).ids)
        weights = values = likelihood = None
        if work.attention is not None:
            _check_size(len(prompt), len(response))
            chosen = work.attention
            weights = self._explainer.attention(
                prompt, response, chosen.layer, chosen.attention_head, work.without_sink
            ).matrix
        if work.position is not None:
            reason = self._explainer.reason(prompt, response, work.position)
            values, likelihood = reason.values, reason.log_probability
        return GenerationExplained(
            prompt_tokens=self._words(prompt),
            response_tokens=self._words(response),
            weights=weights,
            values=values,
            log_probability=likelihood,
            seconds=time.monotonic() - started,
        )

    def _words(self, tokens: list[int]) -> tuple[str, ...]:
        return tuple(self._tokenizer.decode([token], clean_up_tokenization_spaces=False) for token in tokens)


def _check_size(prompt: int, response: int) -> None:
    if response * (prompt + response) > MOST_GENERATION_WEIGHTS:
        what = (
            f"{response} response tokens over {prompt + response} tokens are more than {MOST_GENERATION_WEIGHTS}"
            " weights, the most that a reply holds; explain a shorter response, or a position alone"
        )
        raise InvalidInput(f"the attention map is too large: {what}", [FieldViolation("generation.attention", what)])
