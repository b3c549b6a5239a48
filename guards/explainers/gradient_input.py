"""Gradient times input, and saliency: what a small change of each word vector does to the logit of risk.

Sources: Simonyan 2013 (arXiv:1312.6034), saliency: the gradient's length; Shrikumar 2016 (arXiv:1605.01713), gradient
times input.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from guards.explainers.base import Attribution, Budget, of_own_tokens
from guards.explainers.explained_head import ExplainedHead
from guards.explainers.window import TokenWindow


class GradientInput:
    name = "gradient_input"

    def attribute(self, head: ExplainedHead, window: TokenWindow, budget: Budget) -> Attribution:
        vectors, gradient = _gradient(head, window)
        values = (gradient * vectors).sum(-1).double().cpu().numpy()
        return Attribution(of_own_tokens(np.asarray(values), window), signed=True)


class Saliency:
    name = "saliency"

    def attribute(self, head: ExplainedHead, window: TokenWindow, budget: Budget) -> Attribution:
        _, gradient = _gradient(head, window)
        values = gradient.norm(dim=-1).double().cpu().numpy()
        return Attribution(of_own_tokens(np.asarray(values), window), signed=False)


def _gradient(head: ExplainedHead, window: TokenWindow) -> tuple[Tensor, Tensor]:
    """Word vectors and the logit's gradient, each [T, D]."""
    ids, mask, segments = head.tensors(window)
    with torch.enable_grad():
        vectors = head.embed(ids).detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(head.logits(vectors, mask, segments).sum(), vectors)
    return vectors.detach()[0], gradient[0]
