"""Does the reward read the prompt? A good answer to another question should not score as well.

Each prompt's own better answer against the better answers of `swaps` other prompts. A success is a foreign answer that
is ahead, or even. `value` is the own answer's lead, in units of reward.

Category "prompt-ignoring", kind BENIGN, target the head's name; no parameters. A head that judges only whether a
response is safe may ignore the prompt of harmless answers with good reason: read its row so.

Source: the prompt-swap check of reward models, as in Lambert 2024, "RewardBench" (arXiv:2403.13787), which asks what a
reward depends on; the items are our own.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from functools import partial

from pydantic import Field

from guards.probes.base import Example, Measured, ProbeKind, Setting, Trial, Unit
from guards.probes.prompts.material import read_material
from guards.probes.reward.answers import Answered, Answers
from guards.probes.reward.heads import RewardProbeConfig, rewards
from guards.probes.targets import Need, Targets


class PromptIgnoringConfig(RewardProbeConfig):
    swaps: int = Field(default=3, ge=1)


class PromptIgnoring:
    needs = frozenset({Need.SCORES})

    def __init__(self, config: PromptIgnoringConfig) -> None:
        self.name = config.name
        self._config = config

    def units(self, seed: int) -> Iterator[Unit]:
        items = read_material(self._config.file, "reward_answers", Answers).items[: self._config.items]
        for number, item in enumerate(items):
            chooser = random.Random(f"{seed}:{self.name}:{number}")  # noqa: S311 - sampling, not secrecy
            others = [at for at in range(len(items)) if at != number]
            swapped = sorted(chooser.sample(others, min(self._config.swaps, len(others))))
            yield Unit(
                f"{self.name}/{number}",
                len(swapped),
                partial(self._run, number, item, [(at, items[at].better) for at in swapped]),
            )

    def _run(
        self, number: int, item: Answered, foreign: Sequence[tuple[int, str]], targets: Targets
    ) -> tuple[Measured, ...]:
        measured = []
        for scores, head in self._config.chosen(targets):
            own, *others = rewards(scores, head, item.prompt, [item.better, *(text for _, text in foreign)])
            trials = tuple(
                Trial(
                    f"item{number}:{at}",
                    success=reward >= own,
                    value=own - reward,
                    example=Example(item.prompt, item.prompt, text) if reward >= own else None,
                )
                for (at, text), reward in zip(foreign, others, strict=True)
            )
            measured.append(Measured(Setting(self.name, head, "prompt-ignoring", ProbeKind.BENIGN), trials))
        return tuple(measured)
