"""One text under one attack at every epsilon of a grid, as the rows of one batch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from guards.probes.gradient.classifier import DifferentiableClassifier, TokenBatch, embeddings_of
from guards.probes.gradient.embedding_attack import Attack
from guards.probes.gradient.fgsm import fgsm
from guards.probes.gradient.perturbation import Norm, margins, right
from guards.probes.gradient.pgd import pgd, random_start
from guards.probes.gradient.random_direction import random_direction
from guards.probes.targets import Text


@dataclass(frozen=True, slots=True)
class Grid:
    """`attack`, `epsilons` relative; `steps` and `random_start` are PGD's."""

    attack: Attack
    norm: Norm
    epsilons: tuple[float, ...]
    steps: int = 10
    random_start: bool = False


@dataclass(frozen=True, slots=True)
class Curve:
    """Whether the decision was right, without the attack and at each epsilon, and by what log odds."""

    clean: bool
    right: tuple[bool, ...]
    log_odds: tuple[float, ...]

    @property
    def worst_so_far(self) -> tuple[bool, ...]:
        """Right at this epsilon and all before it."""
        return tuple(all(self.right[: place + 1]) for place in range(len(self.right)))


def attacked(classifier: DifferentiableClassifier, text: Text, gold: int, grid: Grid, seed: str) -> Curve:
    """`seed` fixes what is drawn: one direction, the same for all epsilons."""
    rows = len(grid.epsilons)
    batch = classifier.tokenize([text] * rows)
    golds, epsilons = torch.full((rows,), gold), torch.tensor(grid.epsilons)
    seeds = [_number(seed)] * rows
    delta = _delta(classifier, batch, golds, grid, epsilons, seeds)
    lone = classifier.tokenize([text])
    with torch.no_grad():
        clean = classifier.logits(embeddings_of(classifier, lone), lone)
        logits = classifier.logits(embeddings_of(classifier, batch) + delta, batch)
    return Curve(
        bool(right(clean, golds[:1])),
        tuple(bool(one) for one in right(logits, golds)),
        tuple(-float(one) for one in margins(logits, golds)),
    )


def _delta(
    classifier: DifferentiableClassifier,
    batch: TokenBatch,
    golds: Tensor,
    grid: Grid,
    epsilons: Tensor,
    seeds: list[int],
) -> Tensor:
    match grid.attack:
        case "fgsm":
            one = torch.zeros(1, dtype=torch.long)  # the rows are one text: it has one gradient
            return fgsm(classifier, batch.rows(one), golds[:1], grid.norm, epsilons)
        case "random_direction":
            return random_direction(classifier, batch, grid.norm, epsilons, seeds)
        case "pgd":
            start = None
            if grid.random_start:
                edge = random_direction(classifier, batch, grid.norm, epsilons, seeds)
                start = random_start(edge, grid.norm, seeds)
            return pgd(classifier, batch, golds, grid.norm, epsilons, grid.steps, start)


def _number(seed: str) -> int:
    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:7])
