"""The fast gradient sign method: one step along the gradient, to the edge of the ball.

Source: Goodfellow, Shlens and Szegedy 2015, "Explaining and Harnessing Adversarial Examples" (arXiv:1412.6572); on word
vectors as in Miyato, Dai and Goodfellow 2017 (arXiv:1605.07725). Departures: the ball is around each token, not around
the whole input; the loss is the log odds against the right label, whose gradient has cross-entropy's direction.
"""

from __future__ import annotations

from torch import Tensor

from guards.probes.gradient.classifier import DifferentiableClassifier, TokenBatch, embeddings_of
from guards.probes.gradient.perturbation import Norm, radii, slope, steepest


def fgsm(classifier: DifferentiableClassifier, batch: TokenBatch, gold: Tensor, norm: Norm, epsilons: Tensor) -> Tensor:
    """The perturbation [B, T, D] of right labels `gold` [B]; with one text, for each of the `epsilons`."""
    rising = slope(classifier, embeddings_of(classifier, batch), batch, gold).gradient
    return steepest(rising, norm) * radii(classifier, norm, epsilons)
