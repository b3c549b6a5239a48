"""How often does a classifier misjudge labelled texts, as they are and under attack?

As they are: a success is a text whose likeliest label is the wrong one, so accuracy is one less the rate. Texts that
were written to mislead (`adversarial: true`, as AdvGLUE's) count as attacks, ordinary ones as harmless use. Under each
of `attacks`, on `attacked` of the texts: a success is a text judged right as it is and wrong once it is changed.
`value` is the number of texts that the classifier scored for it.

Sources of the collections that the example suite names: Wang et al. 2021, "Adversarial GLUE" (arXiv:2111.02840); Jin
et al. 2020 (arXiv:1907.11932). Departures: single texts only. AdvGLUE's pairs (qqp, mnli, qnli, rte) need a classifier
of pairs with an attack on one half; none was at hand to hold such a probe against.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from functools import partial

from pydantic import ConfigDict, Field, field_validator

from guards.policy import Name
from guards.probes.base import Example, Measured, ProbeKind, Setting, Trial, Unit, flipped
from guards.probes.labelled.rows import LabelledFile, LabelledText
from guards.probes.targets import ClassifierTarget, Need, Targets
from guards.probes.transformations.registry import TRANSFORMATIONS
from guards.probes.words.margins import label_margin
from guards.probes.words.probe import attacked
from guards.probes.words.search import Limits, Technique
from guards.probes.words.word_scramble import WordScramble
from guards.probes.words.word_substitution import WordSubstitution

_AT_ONCE = 8  # texts in a unit where each costs a query or two
_SEARCHES = (WordScramble.name, WordSubstitution.name)


class LabelledTextsConfig(LabelledFile):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    classifier: str  # a head, or a classifier of `models:`
    adversarial: bool = False  # whether the texts were written to mislead
    count: int = Field(default=200, ge=1)
    attacks: tuple[str, ...] = ()  # word_scramble, word_substitution and transformations
    attacked: int = Field(default=30, ge=1)
    severity: float = Field(default=0.3, gt=0, le=1)  # of transformations
    max_queries: int = Field(default=100, ge=3)
    max_share: float = Field(default=0.4, gt=0, le=1)

    @field_validator("attacks")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        known = (*_SEARCHES, *TRANSFORMATIONS)
        if unknown := [name for name in names if name not in known]:
            raise ValueError(f"no attack '{unknown[0]}'; one of {', '.join(known)}")
        return names


class LabelledTexts:
    def __init__(self, config: LabelledTextsConfig) -> None:
        self.name = config.name
        needed = {Need.CLASSIFIERS}
        self.needs = frozenset(needed | {Need.ENCODER} if WordSubstitution.name in config.attacks else needed)
        self._config = config

    def units(self, seed: int) -> Iterator[Unit]:
        texts = self._config.load(seed, self._config.count)
        for at in range(0, len(texts), _AT_ONCE):
            some = texts[at : at + _AT_ONCE]
            yield Unit(f"{self.name}/plain/{at}", len(some), partial(self._plain, some))
        chosen = texts[: self._config.attacked]
        for attack in self._config.attacks:
            if attack in _SEARCHES:
                for one in chosen:
                    yield Unit(f"{self.name}/{attack}/{one.item}", 1, partial(self._searched, attack, one, seed))
                continue
            for at in range(0, len(chosen), _AT_ONCE):
                some = chosen[at : at + _AT_ONCE]
                run = partial(self._transformed, attack, some, seed)
                yield Unit(f"{self.name}/{attack}/{at}", len(some), run)

    def _plain(self, texts: Sequence[LabelledText], targets: Targets) -> tuple[Measured, ...]:
        right = _right(self._classifier(targets), texts, [one.text for one in texts])
        trials = tuple(
            Trial(one.item, success=not good, example=None if good else Example(one.text, one.text), value=1.0)
            for one, good in zip(texts, right, strict=True)
        )
        kind = ProbeKind.ATTACK if self._config.adversarial else ProbeKind.BENIGN
        return (Measured(self._setting("none", "labelled", kind), trials),)

    def _transformed(
        self, name: str, texts: Sequence[LabelledText], seed: int, targets: Targets
    ) -> tuple[Measured, ...]:
        classifier, severity = self._classifier(targets), self._config.severity
        transformation = TRANSFORMATIONS[name]
        changed = [
            transformation.transform(
                one.text,
                random.Random(f"{seed}:{name}:{severity}:{one.item}"),  # noqa: S311
                severity,
            )
            for one in texts
        ]
        before = _right(classifier, texts, [one.text for one in texts])
        after = _right(classifier, texts, changed)
        trials = tuple(
            flipped(one.item, clean, adversarial, value=2.0, example=Example(one.text, text))
            for one, text, clean, adversarial in zip(texts, changed, before, after, strict=True)
        )
        return (Measured(self._setting(name, transformation.family, ProbeKind.ATTACK), trials),)

    def _searched(self, name: str, text: LabelledText, seed: int, targets: Targets) -> tuple[Measured, ...]:
        technique = self._technique(name, targets)
        margin = label_margin(self._classifier(targets), text.label)
        limits = Limits(self._config.max_queries, self._config.max_share)
        trial = attacked(text.item, text.text, margin, technique, limits, seed)
        return (Measured(self._setting(name, technique.category, ProbeKind.ATTACK), (trial,)),)

    def _technique(self, name: str, targets: Targets) -> Technique:
        if name == WordScramble.name:
            return WordScramble()
        assert targets.encoder is not None
        return WordSubstitution(targets.encoder)

    def _classifier(self, targets: Targets) -> ClassifierTarget:
        assert targets.classifiers is not None
        return targets.classifiers(self._config.classifier)

    def _setting(self, attack: str, category: str, kind: ProbeKind) -> Setting:
        return Setting(self.name, self._config.classifier, category, kind, {"attack": attack})


def _right(classifier: ClassifierTarget, texts: Sequence[LabelledText], asked: Sequence[str]) -> list[bool]:
    """Whether each asked text has the label of the one it was made from. Raises ConfigError for an unknown label."""
    for label in {one.label for one in texts}:
        label_margin(classifier, label)
    best = classifier.probabilities(asked).argmax(axis=1)
    return [classifier.labels[index] == one.label for index, one in zip(best, texts, strict=True)]
