"""The control: a step as long as an attack's, in a direction drawn at random.

What a random direction of the same length does is not the attack's doing. L2: uniform on the sphere around each
token; Linf: a corner of the cube.
"""

from __future__ import annotations

import torch
from torch import Tensor

from guards.probes.gradient.classifier import DifferentiableClassifier, TokenBatch, embeddings_of
from guards.probes.gradient.perturbation import Norm, only_attackable, radii, steepest


def random_direction(
    classifier: DifferentiableClassifier, batch: TokenBatch, norm: Norm, epsilons: Tensor, seeds: list[int]
) -> Tensor:
    """The perturbation [B, T, D]; one seed for each row, so that no row depends on its company."""
    vectors = embeddings_of(classifier, batch)
    delta = torch.zeros_like(vectors)
    for row, seed in enumerate(seeds):
        places = batch.attackable[row].nonzero().squeeze(-1)
        drawn = torch.randn(
            len(places), vectors.shape[-1], generator=torch.Generator().manual_seed(seed), dtype=vectors.dtype
        )
        delta[row, places] = steepest(drawn, norm)
    return only_attackable(delta, batch) * radii(classifier, norm, epsilons)
