"""Words and their vectors, asked for neighbours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class WordVectors:
    """`matrix` [words, width], any length; lower-case words."""

    def __init__(self, words: Sequence[str], matrix: NDArray[np.float32]) -> None:
        self._words = tuple(words)
        self._at = {word: index for index, word in enumerate(self._words)}
        lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
        self._unit = np.asarray(matrix / np.maximum(lengths, 1e-9), dtype=np.float32)

    def nearest(self, word: str, count: int) -> list[tuple[str, float]]:
        """Other words with their cosine, the nearest first; none for an unknown word."""
        index = self._at.get(word)
        if index is None:
            return []
        cosines = self._unit @ self._unit[index]
        cosines[index] = -2.0
        order = np.argsort(-cosines, kind="stable")[: min(count, len(self._words) - 1)]
        return [(self._words[at], float(cosines[at])) for at in order]
