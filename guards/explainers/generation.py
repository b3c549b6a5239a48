"""Why the wrapped model wrote a token: its attention back to the prompt, and what its log-probability rests on.

A second pass over prompt and response together (teacher forcing) gives what writing them gave, since each token sees
only those before it. Sources: Vaswani 2017 (arXiv:1706.03762), attention; Shrikumar 2016 (arXiv:1605.01713), gradient
times input; Xiao 2023 (arXiv:2309.17453), attention sinks: chat models lay much of their attention on the first token,
which says nothing of it, so a map can leave that token out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from guards.errors import FieldViolation, InvalidInput
from guards.explainers.eager import eager_twin_of

Floats = NDArray[np.float64]

MOST_TOKENS = 1024  # prompt and response; one head's map of them is 8 MB


@dataclass(frozen=True)
class GeneratedAttention:
    """`matrix` [response, prompt + response]: row i is what the i-th written token was written from; rows sum to 1."""

    layer: int | None
    head: int | None
    matrix: Floats


@dataclass(frozen=True)
class TokenReason:
    """`values` [tokens before it]: positive made the token likelier. `log_probability` in (-inf, 0]."""

    values: Floats
    log_probability: float


class GeneratorExplainer:
    """Explains one causal language model. Any number of threads may use it at once."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._twin = eager_twin_of(model, AutoModelForCausalLM.from_config)
        self.layers = int(model.config.num_hidden_layers)
        self.heads = int(model.config.num_attention_heads)

    def attention(
        self,
        prompt: Sequence[int],
        response: Sequence[int],
        layer: int | None,
        head: int | None,
        without_sink: bool = False,
    ) -> GeneratedAttention:
        """Of one layer and head, or the mean of all. `without_sink` leaves the first token out and scales rows to 1.

        Raises InvalidInput for a layer or head that is not there, and for more than MOST_TOKENS tokens.
        """
        self._check(prompt, response)
        for name, value, count in (("layer", layer, self.layers), ("attention_head", head, self.heads)):
            if value is not None and not 0 <= value < count:
                what = f"the model has {count}, numbered from 0 to {count - 1}"
                raise InvalidInput(f"there is no such {name}: {what}", [FieldViolation(name, what)])
        ids = torch.tensor([[*prompt, *response]], device=self._twin.device)
        # The state before a token is written belongs to the token before it.
        rows = slice(len(prompt) - 1, len(prompt) + len(response) - 1)
        chosen = range(self.layers) if layer is None else [layer]
        total = torch.zeros(len(response), ids.shape[1], dtype=torch.float64)
        with torch.inference_mode(), _caught(self._twin, chosen) as maps:
            self._twin(input_ids=ids, use_cache=False)
            for one in maps:
                picked = one[0] if head is None else one[0, head : head + 1]
                total += picked[:, rows].double().mean(0).cpu()
        matrix = total.numpy() / len(chosen)
        if without_sink:
            matrix[:, 0] = 0.0
        return GeneratedAttention(layer, head, matrix / matrix.sum(-1, keepdims=True))

    def reason(self, prompt: Sequence[int], response: Sequence[int], position: int) -> TokenReason:
        """Of the response's token number `position`, by gradient times input. Raises InvalidInput."""
        self._check(prompt, response)
        if not 0 <= position < len(response):
            what = f"the response has {len(response)} tokens, numbered from 0"
            raise InvalidInput(f"there is no such position: {what}", [FieldViolation("position", what)])
        seen = [*prompt, *response[:position]]
        words = self._twin.get_input_embeddings()
        assert isinstance(words, nn.Embedding)
        with torch.enable_grad():
            vectors = words(torch.tensor([seen], device=self._twin.device)).detach().requires_grad_(True)
            logits = self._twin(inputs_embeds=vectors, use_cache=False).logits[0, -1].float()
            likelihood = torch.log_softmax(logits, dim=-1)[response[position]]
            (gradient,) = torch.autograd.grad(likelihood, vectors)
        values = (gradient.double() * vectors.double()).sum(-1)[0].detach().cpu().numpy()
        return TokenReason(np.asarray(values), float(likelihood.detach()))

    def _check(self, prompt: Sequence[int], response: Sequence[int]) -> None:
        count = len(prompt) + len(response)
        if not prompt or not response:
            raise InvalidInput("a generation is explained from a prompt and a response, and one of them is empty")
        if count > MOST_TOKENS:
            raise InvalidInput(f"prompt and response have {count} tokens; explanations take {MOST_TOKENS}")


@contextmanager
def _caught(model: PreTrainedModel, layers: Sequence[int]) -> Iterator[list[Tensor]]:
    """Attention [1, heads, T, T] of the chosen layers alone, as they are computed: all would fill the memory."""
    maps: list[Tensor] = []
    attentions = [module for name, module in model.named_modules() if name.endswith(".self_attn")]

    def keep(module: nn.Module, inputs: Any, outputs: Any) -> None:
        maps.append(outputs[1])

    handles = [attentions[layer].register_forward_hook(keep) for layer in layers]
    try:
        yield maps
    finally:
        for handle in handles:
            handle.remove()
