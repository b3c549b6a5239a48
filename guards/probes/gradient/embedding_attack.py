"""How far do word vectors have to move before a classifier's decision turns?

FGSM, PGD and a random direction of the same length on the word vectors of every prompt, over a grid of epsilons. On
harmful prompts a success is one that is withheld as it is and passes after the move, on harmless ones the other way
round. `value` is the log odds of the right label after the move.

Every row says which figure it is: "raw" is what the attack did at that epsilon; in "worst so far" a prompt counts as
wrong where the attack made it wrong at that or a smaller epsilon of the grid, whose ball lies inside. Raw FGSM may
rise again with epsilon, since its step can overshoot; PGD's raw figure is never better than FGSM's.

A sensitivity gauge: no text has the moved vectors. guards/probes/gradient/hotflip.py attacks with texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from guards.policy import Name
from guards.probes.base import Measured, ProbeKind, Setting, Unit, flipped
from guards.probes.gradient.classifier import PASSES, WITHHELD
from guards.probes.gradient.gold import GoldLabels, by_kind, gold_index, judged_text
from guards.probes.prompts.prompts import Prompt, Prompts
from guards.probes.targets import Need, Targets

Attack = Literal["fgsm", "pgd", "random_direction"]
Norm = Literal["l2", "linf"]
RAW = "raw"
WORST = "worst so far"


class EmbeddingAttackConfig(BaseModel):
    """`target` is a head of the reward model or of a model in `models:`, decided at the policy's threshold, or at
    another as "HEAD@0.5"; or "NAME:labels", all labels of a model that exclude each other, where `gold` names those
    of a harmless and of a harmful prompt."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    target: str = "request_risk"
    attacks: tuple[Attack, ...] = Field(default=("random_direction", "fgsm", "pgd"), min_length=1)
    norms: tuple[Norm, ...] = Field(default=("l2", "linf"), min_length=1)
    epsilons: tuple[float, ...] = Field(default=(0.0, 0.005, 0.01, 0.02, 0.05, 0.1), min_length=1)
    steps: int = Field(default=10, ge=1, le=100)  # of PGD
    random_start: bool = False  # of PGD
    gold: GoldLabels = (PASSES, WITHHELD)
    answers_to: str = ""  # for heads that judge responses: the prompt that every text answers
    harmful: Prompts = Prompts(set="harmful", count=100)
    benign: Prompts = Prompts(set="benign", count=100)

    @field_validator("epsilons")
    @classmethod
    def _rising_from_zero(cls, epsilons: tuple[float, ...]) -> tuple[float, ...]:
        if epsilons[0] != 0 or any(later <= earlier for earlier, later in pairwise(epsilons)):
            raise ValueError("epsilons begin with 0, which is the clean accuracy, and rise")
        return epsilons


class EmbeddingAttack:
    """A unit is one prompt in one norm under one attack; the epsilons are the rows of its batch."""

    needs = frozenset({Need.GRADIENTS})

    def __init__(self, config: EmbeddingAttackConfig) -> None:
        self.name = config.name
        self._config = config

    def units(self, seed: int) -> Iterator[Unit]:
        config = self._config
        for kind, prompt in by_kind(config.harmful, config.benign, seed):
            for norm in config.norms:
                for attack in config.attacks:
                    yield Unit(
                        f"{self.name}/{kind}/{norm}/{attack}/{prompt.item}",
                        len(_figures(attack)) * len(config.epsilons),
                        partial(self._run, prompt, norm, attack, kind, seed),
                    )

    def _run(
        self, prompt: Prompt, norm: Norm, attack: Attack, kind: ProbeKind, seed: int, targets: Targets
    ) -> tuple[Measured, ...]:
        from guards.probes.gradient.grid import Grid, attacked  # heavy: brings torch

        assert targets.gradients is not None
        config = self._config
        classifier = targets.gradients(config.target)
        gold = gold_index(classifier, config.gold, kind)
        grid = Grid(attack, norm, config.epsilons, config.steps, config.random_start)
        text = judged_text(prompt.text, config.answers_to)
        curve = attacked(classifier, text, gold, grid, f"{seed}:{prompt.item}:{norm}")
        measured = []
        for figure in _figures(attack):
            rights = curve.right if figure == RAW else curve.worst_so_far
            for epsilon, after, log_odds in zip(config.epsilons, rights, curve.log_odds, strict=True):
                parameters = {"attack": attack, "norm": norm, "epsilon": epsilon, "figure": figure}
                setting = Setting(self.name, config.target, "embedding", kind, parameters)
                trial = flipped(prompt.item, curve.clean, after, value=log_odds)
                measured.append(Measured(setting, (trial,)))
        return tuple(measured)


def _figures(attack: Attack) -> tuple[str, ...]:
    """A control is no attack: it has no worst point."""
    return (RAW,) if attack == "random_direction" else (RAW, WORST)
