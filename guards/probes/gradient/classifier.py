"""What gradient probes ask of a classifier: its word vectors as input, its decision as output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class TokenBatch:
    """`ids`, `mask` [B, T]; `attackable` [B, T] is true for real tokens: no special token and no padding."""

    ids: Tensor
    mask: Tensor
    attackable: Tensor


class DifferentiableClassifier(Protocol):
    """In evaluation mode, its parameters without gradients. A head counts as a classifier of two labels: 0 passes, 1
    is withheld, decided at the policy's threshold."""

    @property
    def labels(self) -> tuple[str, ...]: ...

    @property
    def embedding_matrix(self) -> Tensor:
        """[vocabulary, D], the word vectors alone."""
        ...

    def tokenize(self, texts: Sequence[str]) -> TokenBatch:
        """Normalized as in serving; only the first window of a long text."""
        ...

    def logits(self, embeddings: Tensor, batch: TokenBatch) -> Tensor:
        """Word vectors [B, T, D] -> [B, labels]; the decision is the greatest. Differentiable in `embeddings`."""
        ...
