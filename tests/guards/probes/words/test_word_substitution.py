from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from guards.probes.words.opposites import opposed
from guards.probes.words.search import Limits, attack
from guards.probes.words.vectors import WordVectors
from guards.probes.words.word_substitution import WordSubstitution

_WORDS = {
    "terrible": (1.0, 0.1),
    "dreadful": (1.0, 0.2),
    "terrific": (1.0, 0.0),  # as near as can be, and the opposite
    "terribly": (1.0, 0.11),
    "lousy": (1.0, 0.5),
    "table": (0.0, 1.0),
}


class Encoder:
    """Sentence vectors by length alone: a text as long as the original is the same."""

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        angles = np.array([0.1 * len(text) for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)

    def word_vectors(self) -> WordVectors:
        return WordVectors(tuple(_WORDS), np.array(list(_WORDS.values()), dtype=np.float32))


def test_candidates_come_nearest_first_without_opposites_other_forms_and_far_words() -> None:
    assert WordSubstitution(Encoder()).candidates("terrible", random.Random(1)) == ("dreadful", "lousy")
    assert WordSubstitution(Encoder(), most=1).candidates("Terrible", random.Random(1)) == ("Dreadful",)
    assert WordSubstitution(Encoder()).candidates("unheardof", random.Random(1)) == ()


def test_only_texts_near_the_original_are_asked() -> None:
    asked: list[str] = []

    def score(texts: Sequence[str]) -> list[float]:
        asked.extend(texts)
        return [0.5 if "terrible" in text else -0.5 for text in texts]

    technique = WordSubstitution(Encoder(), min_similarity=0.999)  # one letter more or less is too far
    attempt = attack("a terrible thing!", score, technique, Limits(), random.Random(1))
    assert attempt.text == "a dreadful thing!"
    assert attempt.fooled
    assert not any("lousy" in text for text in asked)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("good", "bad"),
        ("unsafe", "safe"),
        ("legal", "illegal"),
        ("useful", "useless"),
        ("use", "useless"),
        ("richer", "poorer"),
    ],
)
def test_opposites_are_told(one: str, other: str) -> None:
    assert opposed(one, other)
    assert opposed(other, one)


@pytest.mark.parametrize(("one", "other"), [("good", "great"), ("bomb", "grenade"), ("film", "movie")])
def test_relatives_are_no_opposites(one: str, other: str) -> None:
    assert not opposed(one, other)
