"""Per-request, seeded sampling inside transformers' continuous batching.

The library's own per-request processors know temperature, top-k and top-p, but one random stream serves the whole
batch: what a request gets depends on its neighbours. Here each draw is a function of the request's seed and the token's
position alone, so it is the same alone, in company and after the scheduler started a request anew. The manager runs
greedy; a sampled row leaves the processor with only its drawn token possible.

Imports torch and transformers: import it only where a model is loaded.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import torch
from transformers.generation.continuous_batching.cb_logits_processors import ContinuousBatchingLogitsProcessor

# Enough for nearly every nucleus; a wider one falls back to sorting the whole vocabulary, 10 times as slow.
NUCLEUS_CANDIDATES = 512


@dataclass(frozen=True, slots=True)
class RowSampling:
    """`temperature` > 0, `top_p` in (0, 1], `top_k` None is unlimited."""

    temperature: float
    top_p: float
    top_k: int | None
    seed: int


@dataclass(frozen=True, slots=True)
class _Draw:
    row: int
    sampling: RowSampling
    position: int  # tokens before the one to draw


class SeededSampling(ContinuousBatchingLogitsProcessor):
    """Rows of requests submitted with `sampling=RowSampling(...)` are drawn; all others stay greedy."""

    supported_kwargs = {"sampling": RowSampling}  # noqa: RUF012 - the base class declares it so
    ignored_kwargs = ()

    def __init__(self) -> None:
        # Safe to keep between the two calls: without asynchronous batching they alternate on one thread.
        self._draws: tuple[_Draw, ...] = ()

    def fill_defaults(self, int32_tensor: torch.Tensor) -> None:
        int32_tensor.zero_()

    def prepare_tensor_args(self, requests_with_new_token: list[Any]) -> torch.Tensor:
        draws = []
        for row, request in enumerate(requests_with_new_token):
            state = request.state
            sampling = state.logit_processor_kwargs.get("sampling")
            if sampling is not None:
                # The sum also holds after an eviction, which moves generated tokens to the initial ones.
                position = len(state.initial_tokens) + len(state.generated_tokens)
                draws.append(_Draw(row, sampling, position))
        self._draws = tuple(draws)
        return torch.zeros(len(requests_with_new_token), dtype=torch.int32)

    def __call__(self, scores: torch.Tensor, tensor_arg: torch.Tensor) -> torch.Tensor:
        """Scores [rows, vocabulary], in place."""
        for draw in self._draws:
            row = scores[draw.row]
            token = draw_token(row, draw.sampling, uniform(draw.sampling.seed, draw.position))
            row.fill_(-torch.inf)
            row[token] = 0.0
        return scores


def uniform(seed: int, position: int) -> float:
    """In [0, 1); the same on every machine."""
    digest = hashlib.blake2b(f"{seed}:{position}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest) >> 11) / 2**53


def draw_token(logits: torch.Tensor, sampling: RowSampling, at: float) -> torch.Tensor:
    """The token [] at quantile `at` of what temperature, then top-k, then top-p leave of `logits` [V]."""
    probabilities = torch.softmax(logits / sampling.temperature, dim=-1)
    if sampling.top_k is None and sampling.top_p >= 1.0:
        return _quantile(probabilities, at)
    width = min(sampling.top_k or NUCLEUS_CANDIDATES, probabilities.numel())
    values, tokens = probabilities.topk(width)
    if sampling.top_k is None and float(values.sum()) < sampling.top_p:
        values, tokens = probabilities.sort(descending=True)
    total = values.sum() if sampling.top_k is not None else 1.0
    before = values.cumsum(0) - values
    values = torch.where(before < sampling.top_p * total, values, 0.0)
    return tokens[_quantile(values, at)]


def _quantile(weights: torch.Tensor, at: float) -> torch.Tensor:
    cumulative = weights.cumsum(0)
    total = cumulative[-1:]
    place = torch.searchsorted(cumulative, total * at, right=True)
    # Rounding may reach the total itself; the token that first reaches it is the last possible one.
    return torch.minimum(place, torch.searchsorted(cumulative, total))[0]
