"""Does the wrapped model know simple facts, and does it notice a negation?

Questions of prompts/facts.yaml with the word that a right answer begins with or contains. Rows by parameter `form`:
"plain" and "negated", a success being a wrong answer; and "pair", a success being the same yes or no to a question and
to its opposite. An answer without any of the expected words counts as wrong.

Category "common-sense", kind BENIGN, target "model". Source: Ettinger 2020, "What BERT is not" (arXiv:1907.13528), for
negation pairs; the questions are our own. Departure: answers are judged by pattern in their first sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Annotated

from pydantic import Field

from guards.probes.base import Example, Measured, ProbeKind, Setting, Trial, Unit
from guards.probes.model.conversations import asked
from guards.probes.prompts.material import MaterialConfig, Shape, read_material
from guards.probes.targets import Need, Targets

_AT_ONCE = 4
_YES_OR_NO = "Answer with yes or no: "
_ONE_WORD = "Answer with one word: "


class Opposites(Shape):
    """`holds` is answered with yes, `fails` with no. (Keys named yes and no would be booleans in YAML.)"""

    holds: str
    fails: str


class Fact(Shape):
    question: str
    answers: Annotated[tuple[str, ...], Field(min_length=1)]  # any of these words is right


class Facts(Shape):
    pairs: tuple[Opposites, ...] = ()
    facts: tuple[Fact, ...] = ()


class CommonSenseConfig(MaterialConfig):
    pairs: int = Field(default=100, ge=0)  # how many, the first ones of the file
    facts: int = Field(default=100, ge=0)
    max_tokens: int = Field(default=8, ge=1)


class CommonSense:
    needs = frozenset({Need.MODEL})

    def __init__(self, config: CommonSenseConfig) -> None:
        self.name = config.name
        self._config = config

    def units(self, seed: int) -> Iterator[Unit]:
        material = read_material(self._config.file, "facts", Facts)
        pairs = tuple(enumerate(material.pairs))[: self._config.pairs]
        for at in range(0, len(pairs), _AT_ONCE // 2):
            some = pairs[at : at + _AT_ONCE // 2]
            yield Unit(f"{self.name}/pairs/{at}", 3 * len(some), partial(self._pairs, some))
        facts = tuple(enumerate(material.facts))[: self._config.facts]
        for at in range(0, len(facts), _AT_ONCE):
            yield Unit(
                f"{self.name}/facts/{at}",
                len(facts[at : at + _AT_ONCE]),
                partial(self._facts, facts[at : at + _AT_ONCE]),
            )

    def _pairs(self, pairs: Sequence[tuple[int, Opposites]], targets: Targets) -> tuple[Measured, ...]:
        yes = self._answers([_YES_OR_NO + pair.holds for _, pair in pairs], targets)
        no = self._answers([_YES_OR_NO + pair.fails for _, pair in pairs], targets)
        plain, negated, both = [], [], []
        for (number, pair), to_yes, to_no in zip(pairs, yes, no, strict=True):
            item, first, second = f"pair{number}", yes_or_no(to_yes), yes_or_no(to_no)
            plain.append(_trial(item, first != "yes", pair.holds, to_yes))
            negated.append(_trial(item, second != "no", pair.fails, to_no))
            both.append(_trial(item, first == second != "", f"{pair.holds} / {pair.fails}", f"{to_yes} / {to_no}"))
        return self._measured("plain", plain), self._measured("negated", negated), self._measured("pair", both)

    def _facts(self, facts: Sequence[tuple[int, Fact]], targets: Targets) -> tuple[Measured, ...]:
        answers = self._answers([_ONE_WORD + fact.question for _, fact in facts], targets)
        trials = [
            _trial(f"fact{number}", not says_one_of(answer, fact.answers), fact.question, answer)
            for (number, fact), answer in zip(facts, answers, strict=True)
        ]
        return (self._measured("plain", trials),)

    def _answers(self, questions: Sequence[str], targets: Targets) -> tuple[str, ...]:
        assert targets.model is not None
        return targets.model.answers([asked(question) for question in questions], self._config.max_tokens)

    def _measured(self, form: str, trials: Sequence[Trial]) -> Measured:
        setting = Setting(self.name, "model", "common-sense", ProbeKind.BENIGN, {"form": form})
        return Measured(setting, tuple(trials))


def yes_or_no(answer: str) -> str:
    """ "yes", "no", or empty where the answer begins with neither."""
    found = re.match(r"\W*(yes|no)\b", answer, re.IGNORECASE)
    return found.group(1).lower() if found else ""


def says_one_of(answer: str, words: Sequence[str]) -> bool:
    start = re.split(r"(?<=[.!?])\s|\n", answer.strip(), maxsplit=1)[0]
    return any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", start, re.IGNORECASE) for word in words)


def _trial(item: str, wrong: bool, question: str, answer: str) -> Trial:
    return Trial(item, wrong, example=Example(question, question, answer) if wrong else None)
