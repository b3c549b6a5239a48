"""Attention as it is: how much a token is looked at, in one layer and head or in the mean of all.

Source: Vaswani 2017 (arXiv:1706.03762) for attention; Jain and Wallace 2019 (arXiv:1902.10186) for why it is a weak
explanation. Where a token's value is asked for, it is the mean attention that the pooled tokens pay to it: our heads
read the mean of the last states, not the first token.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from guards.errors import FieldViolation, InvalidInput
from guards.explainers.base import Attribution, Budget, Floats, of_own_tokens
from guards.explainers.explained_head import ExplainedHead
from guards.explainers.window import TokenWindow


@dataclass(frozen=True, slots=True)
class RawAttention:
    """`layer` and `head` count from 0; None takes the mean of all."""

    layer: int | None = None
    head: int | None = None
    name: str = "attention"

    def attribute(self, head: ExplainedHead, window: TokenWindow, budget: Budget) -> Attribution:
        matrix = attention_matrix(head, window, self.layer, self.head)
        rows = window.mask.astype(bool)
        return Attribution(of_own_tokens(matrix[rows].mean(0), window), signed=False)


def attention_tensors(head: ExplainedHead, window: TokenWindow) -> tuple[Tensor, ...]:
    """Of every layer [heads, T, T]; row i is what token i looks at."""
    ids, mask, segments = head.tensors(window)
    with torch.inference_mode():
        attended = head.attended(head.embed(ids), mask, segments)
    return tuple(layer[0] for layer in attended.attentions)


def attention_matrix(head: ExplainedHead, window: TokenWindow, layer: int | None, number: int | None) -> Floats:
    """[T, T], rows sum to 1. Raises InvalidInput for a layer or head that is not there."""
    check_place(head, layer, number)
    layers = attention_tensors(head, window)
    chosen = layers if layer is None else layers[layer : layer + 1]
    stacked = torch.stack(chosen)  # [layers, heads, T, T]
    picked = stacked if number is None else stacked[:, number : number + 1]
    return np.asarray(picked.mean((0, 1)).double().cpu().numpy())


def check_place(head: ExplainedHead, layer: int | None, number: int | None) -> None:
    for name, value, count in (("layer", layer, head.layers), ("attention_head", number, head.attention_heads)):
        if value is not None and not 0 <= value < count:
            what = f"the model has {count}, numbered from 0 to {count - 1}"
            raise InvalidInput(f"there is no such {name}: {what}", [FieldViolation(name, what)])
