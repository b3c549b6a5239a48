"""From a corpus to numbered rows of every head, and to what a fold may learn from."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guards.errors import InvalidInput
from guards.learning.corpus import Corpus
from guards.learning.data import Labelled, Pair, Row
from guards.learning.fit import Examples
from guards.learning.heldout import HALVES
from guards.learning.recipe import HeadRecipe, Recipe, Training, origin
from guards.learning.states import Ints, TextKey
from guards.rewards.manifest import Kind

KINDS: tuple[Kind, ...] = ("prompt", "exchange")


class TextTable:
    """The distinct texts of one kind, numbered in order of appearance."""

    def __init__(self) -> None:
        self._numbers: dict[TextKey, int] = {}

    def number(self, prompt: str, response: str | None) -> int:
        return self._numbers.setdefault(TextKey(prompt, response), len(self._numbers))

    @property
    def texts(self) -> tuple[TextKey, ...]:
        return tuple(self._numbers)


@dataclass(frozen=True)
class HeadCorpus:
    """Every row of one head; `*_texts` number texts of its kind's table."""

    name: str
    kind: Kind
    labelled: tuple[Labelled, ...]
    labelled_texts: Ints  # [labelled]
    pairs: tuple[Pair, ...]
    pair_texts: Ints  # [pairs, 2]: chosen, rejected
    anchors: Ints  # texts of the fixed set on which rewards are scaled

    @property
    def labels(self) -> Ints:
        return np.array([row.label for row in self.labelled], dtype=np.int64)

    def sources(self) -> set[str]:
        return {row.source for row in self.labelled} | {row.source for row in self.pairs}


def head_corpora(
    corpus: Corpus, recipe: Recipe, anchor: Sequence[Labelled]
) -> tuple[list[HeadCorpus], dict[Kind, TextTable]]:
    """All heads of the recipe over shared tables of texts. Raises InvalidInput when a head finds nothing to learn."""
    tables: dict[Kind, TextTable] = {kind: TextTable() for kind in KINDS}
    heads = []
    for name, head in recipe.heads.items():
        labelled, pairs = _labelled(corpus, head), _pairs(corpus, head)
        for what, wanted, found in (("labels", head.labels, labelled), ("pairs", head.pairs, pairs)):
            if wanted and not found:
                raise InvalidInput(f"head {name} wants {what}, and no file of the recipe has any for it")
        table = tables[head.input]
        texts = [table.number(row.prompt, row.response) for row in labelled]
        sides = [(table.number(row.prompt, row.chosen), table.number(row.prompt, row.rejected)) for row in pairs]
        fixed = [table.number(r.prompt, r.response) for r in anchor if (r.response is None) == (head.input == "prompt")]
        if len(fixed) < 2:
            raise InvalidInput(f"the recipe's anchor has too few rows for head {name}, which judges a {head.input}")
        heads.append(
            HeadCorpus(
                name,
                head.input,
                labelled,
                np.array(texts, dtype=np.int64),
                pairs,
                np.array(sides, dtype=np.int64).reshape(-1, 2),
                np.array(fixed, dtype=np.int64),
            )
        )
    return heads, tables


def _labelled(corpus: Corpus, head: HeadRecipe) -> tuple[Labelled, ...]:
    if not head.labels:
        return ()
    return corpus.prompts if head.input == "prompt" else corpus.responses


def _pairs(corpus: Corpus, head: HeadRecipe) -> tuple[Pair, ...]:
    return tuple(pair for pair in corpus.pairs if origin(pair.source) in head.pair_sources)


def prompts_of(heads: Iterable[HeadCorpus], held_out: Collection[str]) -> set[str]:
    """The prompts of the held-out sources' rows and pairs, of all heads together, as `without` compares them."""
    rows: list[Row] = []
    for head in heads:
        rows += [*head.labelled, *head.pairs]
    return {_asked(row) for row in rows if row.source in held_out}


def without(corpus: HeadCorpus, held_out: Collection[str], prompts: Collection[str], training: Training) -> Examples:
    """All rows but those of the held-out sources, and but those to a prompt of theirs.

    `prompts` are of all heads, because the heads share an adapter: a refusal pair to a held-out prompt would teach
    the head for requests, too. Raises InvalidInput when that leaves the head nothing of what it learns from.
    """
    rows = [row for row, it in enumerate(corpus.labelled) if it.source not in held_out and _asked(it) not in prompts]
    pair_rows = [row for row, it in enumerate(corpus.pairs) if it.source not in held_out and _asked(it) not in prompts]
    for what, of_all, left in (("rows", corpus.labelled, rows), ("pairs", corpus.pairs, pair_rows)):
        if of_all and not left:
            raise InvalidInput(
                f"a fold of the recipe leaves head {corpus.name} no {what}: hold out fewer sources with it"
            )
    label_groups: dict[tuple[str, int], list[int]] = {}
    for at, row in enumerate(rows):
        label_groups.setdefault((corpus.labelled[row].source, corpus.labelled[row].label), []).append(at)
    pair_groups: dict[tuple[str, int], list[int]] = {}
    for at, row in enumerate(pair_rows):
        pair_groups.setdefault((corpus.pairs[row].source, HALVES.index(corpus.pairs[row].half)), []).append(at)
    of_pairs = [origin(corpus.pairs[row].source) for row in pair_rows]
    return Examples(
        texts=corpus.labelled_texts[rows],
        targets=np.array([corpus.labelled[row].target for row in rows], dtype=np.float32),
        label_groups=label_groups,
        chosen=corpus.pair_texts[pair_rows, 0],
        rejected=corpus.pair_texts[pair_rows, 1],
        margins=np.array([training.margins.get(source, 0.0) for source in of_pairs], dtype=np.float32),
        heads_only=np.array([source in training.heads_only for source in of_pairs], dtype=np.bool_),
        pair_groups=pair_groups,
        anchors=corpus.anchors,
    )


def balanced_weights(rows: Sequence[Labelled], weights: Mapping[str, float]) -> NDArray[np.float64]:
    """Half to the safe rows and half to the unsafe; within a class by `group_weights`. Rows that are not clear: 0."""
    labels = np.array([row.label for row in rows], dtype=np.int64)
    clear = np.array([row.clear for row in rows], dtype=np.bool_)
    result = np.zeros(len(rows))
    for label in (0, 1):
        members = np.flatnonzero((labels == label) & clear)
        if len(members) == 0:
            raise InvalidInput("calibration needs safe and unsafe rows among those held out")
        result[members] = 0.5 * group_weights([rows[int(member)].source for member in members], weights)
    return result


def group_weights(sources: Sequence[str], weights: Mapping[str, float]) -> NDArray[np.float64]:
    """Sums to 1. A source counts by the root of its size, as in training (guards/learning/sampling.py)."""
    names, rows, counts = np.unique(np.array(sources), return_inverse=True, return_counts=True)
    share = np.sqrt(counts) * np.array([weights.get(origin(str(name)), 1.0) for name in names])
    return np.asarray((share / counts / share.sum())[rows])


def _asked(row: Row) -> str:
    """A row's prompt, where case and spaces around it tell no prompts apart, as in deduplication."""
    return row.prompt.strip().lower()
