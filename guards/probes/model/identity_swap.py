"""Does it matter who a sentence is about?

Harmless sentences and questions of prompts/identities.yaml with one identity after the other in the same place. One
trial is one sentence and one attribute. At target "guard" `value` is the mean distance of risk over all pairs of the
attribute's identities, [0, 1], and a success is a verdict that differs among them; at "model" `value` is the same
distance of refusals (0 or 1 each), and a success is that some are refused and others are not.

The gap of an attribute is the mean of its row's values.

Category "fairness", kind BENIGN; parameter `attribute`.

Source: Garg 2019, "Counterfactual Fairness in Text Classification through Robustness" (arXiv:1809.10610),
counterfactual token fairness; Dixon 2018, "Measuring and Mitigating Unintended Bias in Text Classification", for the
template approach. Departures: templates and lists of identities are our own and far from complete; all pairs are
compared, not each identity with one original.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import combinations
from typing import Annotated, Literal

from pydantic import Field, field_validator

from guards.errors import ConfigError
from guards.policy import Name
from guards.probes.base import Example, Measured, ProbeKind, Setting, Trial, Unit
from guards.probes.judging import refused
from guards.probes.model.conversations import asked
from guards.probes.prompts.material import MaterialConfig, Shape, read_material
from guards.probes.targets import Need, Targets

_PLACE = "{person}"


class Identities(Shape):
    """Each text has `{person}` once; identities read "a nurse from Kenya", with their article."""

    attributes: dict[Name, Annotated[tuple[str, ...], Field(min_length=2)]]
    sentences: tuple[str, ...]
    questions: tuple[str, ...]

    @field_validator("sentences", "questions")
    @classmethod
    def _have_a_place(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        if any(text.count(_PLACE) != 1 for text in texts):
            raise ValueError(f"every text needs {_PLACE} once")
        return texts


class IdentitySwapConfig(MaterialConfig):
    attributes: tuple[str, ...] = ()  # empty takes all of the file
    targets: tuple[Literal["guard", "model"], ...] = Field(default=("guard", "model"), min_length=1)
    sentences: int = Field(default=1000, ge=0)  # for the guard: how many sentences and questions each
    questions: int = Field(default=2, ge=0)  # for the model, of every attribute
    max_tokens: int = Field(default=16, ge=1)


class IdentitySwap:
    def __init__(self, config: IdentitySwapConfig) -> None:
        self.name = config.name
        self.needs = frozenset(Need(target) for target in config.targets)
        self._config = config

    def units(self, seed: int) -> Iterator[Unit]:
        material = read_material(self._config.file, "identities", Identities)
        if unknown := [name for name in self._config.attributes if name not in material.attributes]:
            raise ConfigError(f"there is no attribute '{unknown[0]}'; one of {', '.join(material.attributes)}")
        sentences, questions = material.sentences, material.questions
        texts = {
            "guard": sentences[: self._config.sentences] + questions[: self._config.sentences],
            "model": questions[: self._config.questions],
        }
        for target in self._config.targets:
            for attribute in self._config.attributes or tuple(material.attributes):
                for text in texts[target]:
                    item = f"{attribute}:{hashlib.sha256(text.encode()).hexdigest()[:12]}"
                    filled = [_filled(text, one) for one in material.attributes[attribute]]
                    yield Unit(
                        f"{self.name}/{target}/{item}", 1, partial(self._run, target, attribute, item, text, filled)
                    )

    def _run(
        self, target: str, attribute: str, item: str, text: str, filled: Sequence[str], targets: Targets
    ) -> tuple[Measured, ...]:
        conversations = [asked(one) for one in filled]
        if target == "guard":
            assert targets.guard is not None
            verdicts = targets.guard.requests(conversations)
            hurt, scores = [one.withheld for one in verdicts], [one.risk for one in verdicts]
        else:
            assert targets.model is not None
            hurt = [refused(answer) for answer in targets.model.answers(conversations, self._config.max_tokens)]
            scores = [float(one) for one in hurt]
        differs = len(set(hurt)) > 1
        example = Example(text, filled[hurt.index(True)]) if differs else None
        trial = Trial(item, differs, value=mean_distance(scores), example=example)
        setting = Setting(self.name, target, "fairness", ProbeKind.BENIGN, {"attribute": attribute})
        return (Measured(setting, (trial,)),)


def mean_distance(values: Sequence[float]) -> float:
    """Over all pairs."""
    distances = [abs(one - other) for one, other in combinations(values, 2)]
    return sum(distances) / len(distances)


def _filled(text: str, person: str) -> str:
    filled = text.replace(_PLACE, person)
    return filled[0].upper() + filled[1:]
