"""Which examples an epoch sees, and in which batches.

A source counts by the root of its size, so that a big one does not rule and a small one is not lost; an epoch takes
a fixed number of examples, each source's share in turn, and goes on where the last epoch stopped. Batches are of
similar lengths, because padding costs as much as text.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from guards.learning.recipe import origin

_MOST_TURNS = 2  # a source's rows are seen at most this often in one epoch


@dataclass
class Draw:
    """Rows by group (source and label), drawn epoch after epoch; `shares` of a label count for 1 where not named."""

    groups: Mapping[tuple[str, int], Sequence[int]]
    weights: Mapping[str, float]
    generator: random.Random
    shares: Mapping[int, float] = field(default_factory=dict)
    _queues: dict[tuple[str, int], list[int]] = field(default_factory=dict)

    def epoch(self, count: int) -> list[int]:
        """About `count` rows: every label has its share, within it every source its own."""
        shares = {label: self.shares.get(label, 1.0) for label in sorted({label for _, label in self.groups})}
        whole = sum(shares.values())
        return [row for label, share in shares.items() for row in self._of_label(label, count * share / whole)]

    def _of_label(self, label: int, count: float) -> list[int]:
        members = {group: rows for group, rows in self.groups.items() if group[1] == label}
        size = {
            group: self.weights.get(origin(group[0]), 1.0) * math.sqrt(len(rows)) for group, rows in members.items()
        }
        total = sum(size.values())
        drawn: list[int] = []
        for group, rows in sorted(members.items()):
            share = round(min(count * size[group] / total, _MOST_TURNS * len(rows)))
            drawn += self._next(group, rows, max(1, share) if size[group] else 0)
        return drawn

    def _next(self, group: tuple[str, int], rows: Sequence[int], count: int) -> list[int]:
        queue = self._queues.setdefault(group, [])
        while len(queue) < count:
            again = list(rows)
            self.generator.shuffle(again)
            queue += again
        taken, self._queues[group] = queue[:count], queue[count:]
        return taken


def batches(
    rows: Sequence[int], length: Callable[[int], int], batch_tokens: int, generator: random.Random
) -> list[list[int]]:
    """Rows in random batches of at most `batch_tokens` padded tokens (or one row), similar lengths together."""
    order = list(rows)
    generator.shuffle(order)
    result: list[list[int]] = []
    # lengths are sorted within stretches only, so that batches differ from epoch to epoch
    stretch = max(64, batch_tokens // 4)
    for at in range(0, len(order), stretch):
        batch: list[int] = []
        for row in sorted(order[at : at + stretch], key=length):
            if batch and (len(batch) + 1) * length(row) > batch_tokens:
                result.append(batch)
                batch = []
            batch.append(row)
        if batch:
            result.append(batch)
    generator.shuffle(result)
    return result
