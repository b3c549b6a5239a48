"""What gradient probes ask of a classifier: its word vectors as input, its decision as output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from guards.probes.targets import Text

if TYPE_CHECKING:  # probes that only look at the plan never load torch
    from torch import Tensor

PASSES = "passes"
WITHHELD = "withheld"


@dataclass(frozen=True)
class TokenBatch:
    """`ids`, `mask`, `segments` [B, T], padded on the right; `attackable` [B, T] is true for the judged texts' own
    tokens: no special token, no padding, nothing of a template.

    `texts` are the judged texts, normalized; `spans` has for each attackable token of a row, in order, its code
    points [start, end) there.
    """

    ids: Tensor
    mask: Tensor
    segments: Tensor
    attackable: Tensor
    texts: tuple[str, ...]
    spans: tuple[tuple[tuple[int, int], ...], ...]

    def rows(self, chosen: Tensor) -> TokenBatch:
        """Some of the rows, by number."""
        numbers = [int(row) for row in chosen]
        return TokenBatch(
            self.ids[chosen],
            self.mask[chosen],
            self.segments[chosen],
            self.attackable[chosen],
            tuple(self.texts[row] for row in numbers),
            tuple(self.spans[row] for row in numbers),
        )


class DifferentiableClassifier(Protocol):
    """In evaluation mode, its parameters frozen. A head counts as a classifier of two labels, `passes` and
    `withheld`, decided at the policy's threshold."""

    @property
    def labels(self) -> tuple[str, ...]: ...

    @property
    def embedding_matrix(self) -> Tensor:
        """[vocabulary, D], the word vectors alone."""
        ...

    @property
    def mean_length(self) -> float:
        """Of the vocabulary's vectors: epsilons are relative to it."""
        ...

    def tokenize(self, texts: Sequence[Text]) -> TokenBatch:
        """Normalized as in serving; only the first window of a long text. Of a text with a response, the response
        is judged."""
        ...

    def logits(self, embeddings: Tensor, batch: TokenBatch) -> Tensor:
        """Word vectors [B, T, D] -> [B, labels]; the decision is the greatest. Differentiable in `embeddings`."""
        ...

    def whole_words(self) -> Mapping[str, int]:
        """By word its token, for words of letters that are one token in the middle of a text."""
        ...


def embeddings_of(classifier: DifferentiableClassifier, batch: TokenBatch) -> Tensor:
    """The word vectors [B, T, D] of the tokens as they are."""
    return classifier.embedding_matrix[batch.ids]
