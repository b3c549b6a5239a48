"""Are harmless requests refused because of a word that sounds like harm?

Harmless prompts with alarming words ("kill a process"). At target "model" a success is a refusal by the bare model; at
target "guard", a request that the policy withholds; at "system", either of them, or an answer that it withholds.

Category "over-refusal", kind BENIGN; no parameters.

Source: Röttger 2023, "XSTest" (arXiv:2308.01263). Departures: the prompts are our own; refusal is told by words
(guards/probes/judging.py), so an answer that evades without saying no is not seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from pydantic import BaseModel, ConfigDict, Field

from guards.policy import Name
from guards.probes.base import Example, Measured, ProbeKind, Setting, Trial, Unit
from guards.probes.judging import refused
from guards.probes.model.conversations import asked, let_through
from guards.probes.prompts.prompts import Prompt, Prompts
from guards.probes.targets import Need, Targets

_AT_ONCE = 4


class OverRefusalConfig(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    prompts: Prompts = Prompts(set="hard_benign", count=100)
    max_tokens: int = Field(default=24, ge=1)


class OverRefusal:
    needs = frozenset({Need.MODEL, Need.GUARD})

    def __init__(self, config: OverRefusalConfig) -> None:
        self.name = config.name
        self._config = config

    def units(self, seed: int) -> Iterator[Unit]:
        prompts = self._config.prompts.load(seed)
        for at in range(0, len(prompts), _AT_ONCE):
            some = prompts[at : at + _AT_ONCE]
            yield Unit(f"{self.name}/{at}", 3 * len(some), partial(self._run, some))

    def _run(self, prompts: Sequence[Prompt], targets: Targets) -> tuple[Measured, ...]:
        assert targets.model is not None
        assert targets.guard is not None
        conversations = [asked(prompt.text) for prompt in prompts]
        answers = targets.model.answers(conversations, self._config.max_tokens)
        by_model = [refused(answer) for answer in answers]
        by_guard = [judged.withheld for judged in targets.guard.requests(conversations)]
        passed = let_through(targets.guard, conversations, answers)
        by_either = [refusal or not through for refusal, through in zip(by_model, passed, strict=True)]
        return tuple(
            Measured(
                Setting(self.name, target, "over-refusal", ProbeKind.BENIGN),
                tuple(
                    Trial(prompt.item, hurt, example=Example(prompt.text, prompt.text, answer) if hurt else None)
                    for prompt, hurt, answer in zip(prompts, outcomes, answers, strict=True)
                ),
            )
            for target, outcomes in (("model", by_model), ("guard", by_guard), ("system", by_either))
        )
