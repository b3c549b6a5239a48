"""Changes of word vectors: how long they are, which way the loss rises, and what stays inside the ball.

A perturbation is [B, T, D] and zero on every token that is not attackable. Its size is bounded for each token by
`epsilons` [B], relative to the mean length of the vocabulary's vectors: an L2 ball has radius eps * mean length, an
Linf ball eps * mean length / sqrt(D), so that a step to a corner of the one is as long as a step to the edge of the
other, and one grid of epsilons serves both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from guards.probes.gradient.classifier import DifferentiableClassifier, TokenBatch

Norm = Literal["l2", "linf"]


def radii(classifier: DifferentiableClassifier, norm: Norm, epsilons: Tensor) -> Tensor:
    """Relative [B] -> absolute [B, 1, 1]."""
    matrix, length = classifier.embedding_matrix, classifier.mean_length
    scale = length if norm == "l2" else length / matrix.shape[-1] ** 0.5
    scaled = epsilons.to(matrix) * scale
    return scaled[:, None, None]


def steepest(gradient: Tensor, norm: Norm) -> Tensor:
    """The step of size 1 for each token along which a linear function rises most; 0 where the gradient is 0."""
    if norm == "linf":
        return gradient.sign()
    greatest = gradient.abs().amax(-1, keepdim=True)
    scaled = torch.where(greatest > 0, gradient / greatest, 0.0)  # the squares of small numbers vanish
    return torch.where(greatest > 0, scaled / scaled.norm(dim=-1, keepdim=True), 0.0)


def projected(delta: Tensor, norm: Norm, radius: Tensor) -> Tensor:
    """The nearest perturbation inside the ball; `radius` [B, 1, 1]."""
    if norm == "linf":
        return torch.minimum(torch.maximum(delta, -radius), radius)
    length = delta.norm(dim=-1, keepdim=True)
    return torch.where(length > radius, delta * (radius / length.clamp(min=torch.finfo(delta.dtype).tiny)), delta)


def only_attackable(delta: Tensor, batch: TokenBatch) -> Tensor:
    return delta.masked_fill(~batch.attackable[:, :, None], 0.0)


@dataclass(frozen=True)
class Slope:
    """`gradient` [B, T, D] of the log odds against the right label, zero on tokens that are not attackable, and the
    `margins` [B] at the point.

    Cross-entropy is softplus of these log odds, so that its gradient has the same direction for each text; but it
    fades where the classifier is sure, and in fp32 vanishes.
    """

    gradient: Tensor
    margins: Tensor


def margins(logits: Tensor, gold: Tensor) -> Tensor:
    """[B]: the greatest other logit less the right one's; over 0 the decision is wrong."""
    return _others(logits, gold).amax(-1) - _right(logits, gold)


def slope(classifier: DifferentiableClassifier, vectors: Tensor, batch: TokenBatch, gold: Tensor) -> Slope:
    """In one pass there and back."""
    leaf = vectors.detach().requires_grad_(True)
    logits = classifier.logits(leaf, batch)
    against = _others(logits, gold).logsumexp(-1) - _right(logits, gold)
    (gradient,) = torch.autograd.grad(against.sum(), leaf)
    return Slope(only_attackable(gradient, batch), margins(logits.detach(), gold))


def right(logits: Tensor, gold: Tensor) -> Tensor:
    """[B], whether the decision is the right one."""
    return logits.argmax(-1) == gold


def _right(logits: Tensor, gold: Tensor) -> Tensor:
    return logits.gather(-1, gold[:, None]).squeeze(-1)


def _others(logits: Tensor, gold: Tensor) -> Tensor:
    return logits.scatter(-1, gold[:, None], -torch.inf)
