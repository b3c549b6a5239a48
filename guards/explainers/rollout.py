"""Attention rollout: attention followed through all layers down to the words.

Source: Abnar and Zuidema 2020, "Quantifying Attention Flow in Transformers" (arXiv:2005.00928): the heads' mean, half
of it the residual connection, multiplied layer by layer. Departure: the value of a token is the mean over the tokens
that are pooled, since no first token is read alone.
"""

from __future__ import annotations

import numpy as np
import torch

from guards.explainers.base import Attribution, Budget, Floats, of_own_tokens
from guards.explainers.explained_head import ExplainedHead
from guards.explainers.raw_attention import attention_tensors
from guards.explainers.window import TokenWindow


class Rollout:
    name = "rollout"

    def attribute(self, head: ExplainedHead, window: TokenWindow, budget: Budget) -> Attribution:
        matrix = rollout_matrix(head, window)
        return Attribution(of_own_tokens(matrix[window.mask.astype(bool)].mean(0), window), signed=False)


def rollout_matrix(head: ExplainedHead, window: TokenWindow) -> Floats:
    """[T, T], rows sum to 1: how much of each word reaches each last state."""
    layers = attention_tensors(head, window)
    same = torch.eye(len(window.ids), dtype=torch.float64)
    flow = same
    for layer in layers:
        flow = (0.5 * layer.mean(0).double().cpu() + 0.5 * same) @ flow
    return np.asarray(flow.numpy())
