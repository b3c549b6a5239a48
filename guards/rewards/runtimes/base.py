"""What runs the forward pass of a reward model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """A padded batch; all arrays are [batch, tokens], int64.

    `segment_ids`: 0 on prompt tokens (and the first special token), 1 on response tokens.
    Padding is on the right and has `attention_mask` 0; which id a model wants there is its runtime's affair.
    """

    input_ids: IntArray
    attention_mask: IntArray
    segment_ids: IntArray


class Runtime(Protocol):
    """Thread-safe: several worker threads call `forward` at once."""

    name: str

    def forward(self, batch: TokenBatch) -> FloatArray:
        """[batch, columns], in the order of `heads`."""
        ...

    @property
    def heads(self) -> Sequence[str]:
        """Names of the columns: `Manifest.columns`."""
        ...
