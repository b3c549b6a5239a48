"""Gradient times attention: only the attention that changes the score counts, followed through all layers.

Source: Chefer, Gur and Wolf 2021, "Generic Attention-model Explainability" (arXiv:2103.15679), self-attention rule:
R <- R + mean over heads of (gradient * attention), positive part, @ R, from R = 1. One forward and one backward pass.
Departures: our heads read the mean of the last states instead of a first token, so a token's value is the mean of R
over the pooled tokens; the gradient is that of the decision that was made, so on a text judged safe it says what made
it safe.
"""

from __future__ import annotations

import numpy as np
import torch

from guards.explainers.base import Attribution, Budget, of_own_tokens
from guards.explainers.explained_head import ExplainedHead
from guards.explainers.window import TokenWindow


class GradientAttention:
    name = "gradient_attention"

    def attribute(self, head: ExplainedHead, window: TokenWindow, budget: Budget) -> Attribution:
        ids, mask, segments = head.tensors(window)
        with torch.enable_grad():
            vectors = head.embed(ids).detach().requires_grad_(True)
            attended = head.attended(vectors, mask, segments)
            decided = attended.logits[0].abs()  # the logit of the decision that was made
            gradients = torch.autograd.grad(decided, attended.attentions, allow_unused=True)
        flow = torch.eye(len(window.ids), device=vectors.device)
        for attention, gradient in zip(attended.attentions, gradients, strict=True):
            if gradient is not None:  # layers above the pooled ones play no part
                flow = flow + (gradient[0] * attention[0].detach()).clamp(min=0).mean(0) @ flow
        values = flow[mask[0].bool()].mean(0).double().cpu().numpy()
        return Attribution(of_own_tokens(np.asarray(values), window), signed=False)
