"""Projected gradient descent: many short steps along the gradient, each brought back into the ball.

Source: Madry et al. 2018, "Towards Deep Learning Models Resistant to Adversarial Attacks" (arXiv:1706.06083).
Departures: it starts at the text itself unless `start` says otherwise; the worst point on the way is kept, the point of
FGSM among them, so that it never does less harm than FGSM; once a text's decision has turned, nothing worse is looked
for; the ball is around each token; the loss as in fgsm.py.
"""

from __future__ import annotations

import torch
from torch import Tensor

from guards.probes.gradient.classifier import DifferentiableClassifier, TokenBatch, embeddings_of
from guards.probes.gradient.perturbation import Norm, margins, projected, radii, slope, steepest

STEPS = 10
_REACH = 2.5  # radii that all steps together could go: enough to turn round on the way


def pgd(
    classifier: DifferentiableClassifier,
    batch: TokenBatch,
    gold: Tensor,
    norm: Norm,
    epsilons: Tensor,
    steps: int = STEPS,
    start: Tensor | None = None,
) -> Tensor:
    """The worst perturbation [B, T, D] met. `start` is one inside the ball, such as random_start's."""
    vectors = embeddings_of(classifier, batch)
    radius = radii(classifier, norm, epsilons)
    here = slope(classifier, vectors, batch, gold)
    worst = steepest(here.gradient, norm) * radius  # FGSM's point
    harm = _harm(classifier, vectors + worst, batch, gold)
    delta = torch.zeros_like(vectors) if start is None else start
    for step in range(steps):
        rows = ((harm <= 0) & (radius[:, 0, 0] > 0)).nonzero().squeeze(-1)
        if not len(rows):
            break
        if step == 0 and start is None:
            gradient = here.gradient[rows]
        else:
            there = slope(classifier, (vectors + delta)[rows], batch.rows(rows), gold[rows])
            _keep_worse(harm, worst, rows, there.margins, delta[rows])
            gradient = there.gradient
        moved = delta[rows] + steepest(gradient, norm) * (radius[rows] * _REACH / steps)
        delta[rows] = projected(moved, norm, radius[rows])
    rows = (harm <= 0).nonzero().squeeze(-1)
    if len(rows):
        last = _harm(classifier, (vectors + delta)[rows], batch.rows(rows), gold[rows])
        _keep_worse(harm, worst, rows, last, delta[rows])
    return worst


def random_start(edge: Tensor, norm: Norm, seeds: list[int]) -> Tensor:
    """Uniform in the ball, from random_direction's point on its edge."""
    width = edge.shape[-1]
    shape = (edge.shape[1], width if norm == "linf" else 1)
    drawn = [torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=edge.dtype) for seed in seeds]
    share = torch.stack(drawn)
    return edge * (share if norm == "linf" else share ** (1.0 / width))


def _keep_worse(harm: Tensor, worst: Tensor, rows: Tensor, other_harm: Tensor, other: Tensor) -> None:
    """Into `harm` and `worst`, where another point of some rows does more."""
    worse = other_harm > harm[rows]
    harm[rows[worse]] = other_harm[worse]
    worst[rows[worse]] = other[worse]


@torch.no_grad()
def _harm(classifier: DifferentiableClassifier, vectors: Tensor, batch: TokenBatch, gold: Tensor) -> Tensor:
    return margins(classifier.logits(vectors, batch), gold)
