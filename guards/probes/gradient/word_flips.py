"""Do a few replaced words turn the decision, of a classifier and then of the guard that serves?

Words are chosen by guards/probes/gradient/hotflip.py with the classifier's gradient; the text that comes out is then
judged by the policy in force, as any request. Two rows for each kind of prompt: `target` is the classifier's name with
the texts that it was attacked with, and "guard" with the same texts. A success is right before and wrong after, by each
one's own judgement. `value`: how many texts the classifier was shown, and of the guard's rows the change of risk.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from pydantic import BaseModel, ConfigDict, Field

from guards.policy import Name
from guards.probes.base import Example, Measured, ProbeKind, Setting, Trial, Unit, flipped
from guards.probes.gradient.classifier import PASSES, WITHHELD
from guards.probes.gradient.gold import GoldLabels, by_kind, gold_index, judged_text
from guards.probes.prompts.prompts import Prompt, Prompts
from guards.probes.targets import Exchange, GuardTarget, Judged, Need, Targets
from guards.types import Message, Role, TextPart

NOT_ATTACKED = "not attacked: the classifier was wrong before"


class WordFlipsConfig(BaseModel):
    """`target`, `gold` and `answers_to` as in EmbeddingAttackConfig."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    target: str = "request_risk"
    words: int = Field(default=3, ge=1, le=50)  # replaced at most
    tries: int = Field(default=6, ge=1, le=100)  # changed texts verified for each word
    min_cosine: float | None = Field(default=None, ge=-1, le=1)  # of word vectors; empty takes any word
    gold: GoldLabels = (PASSES, WITHHELD)
    answers_to: str = ""
    harmful: Prompts = Prompts(set="harmful", count=60)
    benign: Prompts = Prompts(set="benign", count=60)


class WordFlips:
    """A unit is one prompt."""

    needs = frozenset({Need.GRADIENTS})  # the replay is left out where there is no guard

    def __init__(self, config: WordFlipsConfig) -> None:
        self.name = config.name
        self._config = config

    def units(self, seed: int) -> Iterator[Unit]:
        for kind, prompt in by_kind(self._config.harmful, self._config.benign, seed):
            yield Unit(f"{self.name}/{kind}/{prompt.item}", 2, partial(self._run, prompt, kind))

    def _run(self, prompt: Prompt, kind: ProbeKind, targets: Targets) -> tuple[Measured, ...]:
        from guards.probes.gradient.hotflip import FlipLimits, hotflip  # heavy: brings torch

        assert targets.gradients is not None
        config = self._config
        classifier = targets.gradients(config.target)
        gold = gold_index(classifier, config.gold, kind)
        limits = FlipLimits(config.words, config.tries, config.min_cosine)
        flip = hotflip(classifier, judged_text(prompt.text, config.answers_to), gold, limits)
        example = Example(prompt.text, flip.text)
        parameters: dict[str, str | int | float] = {"words": config.words}
        if config.min_cosine is not None:
            parameters["min_cosine"] = config.min_cosine
        setting = Setting(self.name, config.target, "words", kind, parameters)
        trial = flipped(prompt.item, flip.clean, flip.right, value=flip.queries, example=example)
        measured = [Measured(setting, (trial,))]
        if targets.guard is not None:
            replayed = Setting(self.name, "guard", "words", kind, parameters)
            again = self._replayed(targets.guard, prompt, flip.text, kind, example) if flip.clean else None
            measured.append(Measured(replayed, (again or Trial(prompt.item, skipped=NOT_ATTACKED),)))
        return tuple(measured)

    def _replayed(self, guard: GuardTarget, prompt: Prompt, attacked: str, kind: ProbeKind, example: Example) -> Trial:
        before, after = (self._verdict(guard, text) for text in (prompt.text, attacked))
        wanted = kind is ProbeKind.ATTACK
        return flipped(
            prompt.item, before.withheld == wanted, after.withheld == wanted, after.risk - before.risk, example
        )

    def _verdict(self, guard: GuardTarget, text: str) -> Judged:
        asked = self._config.answers_to
        messages = (Message(Role.USER, (TextPart(asked or text),)),)
        if asked:
            return guard.responses([Exchange(messages, text)])[0]
        return guard.requests([messages])[0]
