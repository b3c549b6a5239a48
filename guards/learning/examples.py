"""From a corpus to numbered, weighted examples of one head."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guards.errors import InvalidInput
from guards.learning.corpus import Corpus
from guards.learning.data import Labelled, Pair
from guards.learning.features import TextKey
from guards.learning.fit import Examples
from guards.rewards.manifest import Kind


@dataclass(frozen=True)
class HeadCorpus:
    """Every distinct text of a head, and the rows that point into them."""

    kind: Kind
    texts: tuple[TextKey, ...]
    labelled: tuple[Labelled, ...]
    labelled_texts: NDArray[np.int64]  # [labelled]
    pairs: tuple[Pair, ...]
    pair_texts: NDArray[np.int64]  # [pairs, 2]: chosen, rejected

    @property
    def labels(self) -> NDArray[np.int64]:
        return np.array([row.label for row in self.labelled], dtype=np.int64)

    def sources(self) -> set[str]:
        return {row.source for row in self.labelled} | {row.source for row in self.pairs}


def head_corpus(corpus: Corpus, kind: Kind) -> HeadCorpus:
    labelled = corpus.prompts if kind == "prompt" else corpus.responses
    pairs = () if kind == "prompt" else corpus.pairs
    numbers: dict[TextKey, int] = {}

    def number(prompt: str, response: str | None) -> int:
        return numbers.setdefault(TextKey(prompt, response), len(numbers))

    labelled_texts = [number(row.prompt, row.response) for row in labelled]
    pair_texts = [(number(row.prompt, row.chosen), number(row.prompt, row.rejected)) for row in pairs]
    return HeadCorpus(
        kind,
        tuple(numbers),
        labelled,
        np.array(labelled_texts, dtype=np.int64),
        pairs,
        np.array(pair_texts, dtype=np.int64).reshape(-1, 2),
    )


def without(corpus: HeadCorpus, held_out: Collection[str], weights: Mapping[str, float]) -> Examples:
    """All rows but those of the held-out sources, and but those that share a text with them."""
    hidden = _texts_of(corpus, held_out)
    labelled = [
        row
        for row, (example, text) in enumerate(zip(corpus.labelled, corpus.labelled_texts, strict=True))
        if example.source not in held_out and text not in hidden
    ]
    pairs = [
        row
        for row, (pair, texts) in enumerate(zip(corpus.pairs, corpus.pair_texts, strict=True))
        if pair.source not in held_out and hidden.isdisjoint(texts.tolist())
    ]
    rows = [corpus.labelled[row] for row in labelled]
    return Examples(
        texts=corpus.labelled_texts[labelled],
        labels=corpus.labels[labelled].astype(np.float32),
        weights=balanced_weights(rows, weights),
        chosen=corpus.pair_texts[pairs, 0],
        rejected=corpus.pair_texts[pairs, 1],
        pair_weights=group_weights([corpus.pairs[row].source for row in pairs], weights),
    )


def balanced_weights(rows: Sequence[Labelled], weights: Mapping[str, float]) -> NDArray[np.float32]:
    """Half to the safe rows and half to the unsafe; within a class by `group_weights`."""
    labels = [row.label for row in rows]
    result = np.zeros(len(rows), dtype=np.float32)
    for label in (0, 1):
        members = [row for row, own in enumerate(labels) if own == label]
        if not members:
            raise InvalidInput("training needs safe and unsafe rows outside every held-out fold")
        result[members] = 0.5 * group_weights([rows[member].source for member in members], weights)
    return result


def group_weights(sources: Sequence[str], weights: Mapping[str, float]) -> NDArray[np.float32]:
    """Sums to 1. A source counts by the root of its size, so that a big one does not rule."""
    if not sources:
        return np.zeros(0, dtype=np.float32)
    names, rows, counts = np.unique(np.array(sources), return_inverse=True, return_counts=True)
    share = np.sqrt(counts) * np.array([weights.get(str(name), 1.0) for name in names])
    each = share / counts / share.sum()
    return np.asarray(each[rows], dtype=np.float32)


def _texts_of(corpus: HeadCorpus, sources: Collection[str]) -> set[int]:
    labelled = {
        int(text) for row, text in zip(corpus.labelled, corpus.labelled_texts, strict=True) if row.source in sources
    }
    pairs = {
        int(text)
        for row, texts in zip(corpus.pairs, corpus.pair_texts, strict=True)
        if row.source in sources
        for text in texts
    }
    return labelled | pairs
