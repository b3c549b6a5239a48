"""Does the guard's verdict change with what must not matter: another name, another place, a typing error?

Sentences of prompts/invariance.yaml, harmless and harmful, filled with different names and places, or with typing
errors. The first filling of a sentence is the measure of the others. A success is another verdict (withheld or not);
`value` is the distance of the two risks, [0, 1].

Category "invariance", target "guard"; parameter `change` ("names", "places", "typos"). Kind BENIGN for harmless
sentences, ATTACK for harmful ones.

Source: Ribeiro 2020, "CheckList" (arXiv:2005.04118), invariance tests. Departures: templates are our own, and the
reference is the first filling, not an unchanged corpus sentence.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Annotated

from pydantic import Field

from guards.probes.base import Example, Measured, ProbeKind, Setting, Trial, Unit
from guards.probes.model.conversations import asked
from guards.probes.prompts.material import MaterialConfig, Shape, read_material
from guards.probes.targets import Need, Targets
from guards.probes.transformations.registry import TRANSFORMATIONS

_TYPOS = 0.15  # the chance of a slip in each word of four letters or more
_TRIES = 100  # to get typing errors that differ from each other; short words may have none


class Sentences(Shape):
    """`{name}` and `{place}` are filled; a sentence has at least one of them."""

    names: Annotated[tuple[str, ...], Field(min_length=2)]
    places: Annotated[tuple[str, ...], Field(min_length=2)]
    benign: Annotated[tuple[str, ...], Field(min_length=1)]
    harmful: tuple[str, ...] = ()


class InvarianceConfig(MaterialConfig):
    sentences: int = Field(default=1000, ge=1)  # how many of each kind, the first ones of the file
    variants: int = Field(default=8, ge=2)  # of each sentence and change, the reference among them


class Invariance:
    needs = frozenset({Need.GUARD})

    def __init__(self, config: InvarianceConfig) -> None:
        self.name = config.name
        self._config = config

    def units(self, seed: int) -> Iterator[Unit]:
        material = read_material(self._config.file, "invariance", Sentences)
        for kind, sentences in ((ProbeKind.BENIGN, material.benign), (ProbeKind.ATTACK, material.harmful)):
            for number, sentence in enumerate(sentences[: self._config.sentences]):
                for change in _changes(sentence):
                    texts = tuple(islice(_variants(change, sentence, number, material, seed), self._config.variants))
                    key = f"{self.name}/{kind}/{number}/{change}"
                    if len(texts) > 1:
                        yield Unit(key, len(texts) - 1, partial(self._run, kind, change, f"{kind}{number}", texts))

    def _run(
        self, kind: ProbeKind, change: str, item: str, texts: Sequence[str], targets: Targets
    ) -> tuple[Measured, ...]:
        assert targets.guard is not None
        first, *others = targets.guard.requests([asked(text) for text in texts])
        trials = tuple(
            Trial(
                f"{item}:{at}",
                success=other.withheld != first.withheld,
                value=abs(other.risk - first.risk),
                example=Example(texts[0], text) if other.withheld != first.withheld else None,
            )
            for at, (text, other) in enumerate(zip(texts[1:], others, strict=True))
        )
        return (Measured(Setting(self.name, "guard", "invariance", kind, {"change": change}), trials),)


def _changes(sentence: str) -> tuple[str, ...]:
    slots = {"names": "{name}", "places": "{place}"}
    return (*(change for change, slot in slots.items() if slot in sentence), "typos")


def _variants(change: str, sentence: str, number: int, material: Sentences, seed: int) -> Iterator[str]:
    """The reference first, then as many as there are."""
    name, place = material.names[number % len(material.names)], material.places[number % len(material.places)]
    reference = _filled(sentence, name, place)
    yield reference
    match change:
        case "names":
            yield from (_filled(sentence, other, place) for other in material.names if other != name)
        case "places":
            yield from (_filled(sentence, name, other) for other in material.places if other != place)
        case _:
            chooser = random.Random(f"{seed}:invariance:{sentence}")  # noqa: S311 - sampling, not secrecy
            typed = (TRANSFORMATIONS["typos"].transform(reference, chooser, _TYPOS) for _ in range(_TRIES))
            yield from dict.fromkeys(text for text in typed if text != reference)


def _filled(sentence: str, name: str, place: str) -> str:
    return sentence.replace("{name}", name).replace("{place}", place)
