"""The search that both word attacks share: the words that count most are changed first, one after the other.

Sources: Jin et al. 2020, "Is BERT Really Robust?" (arXiv:1907.11932); Gao et al. 2018, "Black-box Generation of
Adversarial Text Sequences" (arXiv:1801.04354). A word counts as much as the score falls when it is deleted. Of a
word's candidates the one that lowers the score most stays, if it lowers it at all; the search ends with the first
text that fools the target, with the budget, or with the words.

Departures: no more than `max_share` of the words are changed, and no more than `max_queries` texts are scored, of
which importance takes half at most: of a longer text that many content words, drawn evenly, are looked at.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from guards.probes.words.text import Words, split_words

Score = Callable[[Sequence[str]], Sequence[float]]  # the attack lowers it; any scale


class Technique(Protocol):
    """What may stand in a word's place."""

    @property
    def name(self) -> str: ...

    @property
    def category(self) -> str: ...

    def candidates(self, word: str, rng: random.Random) -> tuple[str, ...]:
        """Never the word itself; none where the technique has nothing to offer."""
        ...

    def allowed(self, original: str, texts: Sequence[str]) -> Sequence[bool]:
        """Which whole texts still mean the same, by the technique's constraint."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """What an attack may spend: texts scored, and the share of the words that it may change, rounded up."""

    max_queries: int = 100  # at least 1
    max_share: float = 0.4  # (0, 1]

    def words(self, count: int) -> int:
        return -int(-self.max_share * count // 1)


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of an attack: the text as changed last, its score and that of the unchanged text, how many words are
    changed, and how many texts were scored, the unchanged one among them. A text that fools as it is stays as it is.
    """

    text: str
    before: float
    score: float
    fooled: bool
    changed: int
    queries: int


class _Asked:
    """The target, as long as there is budget."""

    def __init__(self, score: Score, most: int) -> None:
        self._score = score
        self._most = most
        self.count = 0

    @property
    def left(self) -> int:
        return self._most - self.count

    def scores(self, texts: Sequence[str]) -> list[float]:
        """Of the first texts, as many as the budget allows."""
        some = list(texts[: self.left])
        self.count += len(some)
        return [float(one) for one in self._score(some)] if some else []


def attack(
    text: str, score: Score, technique: Technique, limits: Limits, rng: random.Random, below: float = 0.0
) -> Attempt:
    """The target counts as fooled by a text whose score is below `below`. The same generator gives the same text."""
    words = split_words(text)
    asked = _Asked(score, limits.max_queries)
    best = before = asked.scores([text])[0]
    changes: dict[int, str] = {}
    order = _by_importance(words, best, asked, rng) if best >= below else []
    for index in order:
        if best < below or len(changes) >= limits.words(len(words)) or asked.left == 0:
            break
        found = _best_change(words, index, changes, technique, asked, rng, below)
        if found is not None and found[1] < best:
            changes[index], best = found
    return Attempt(words.replaced(changes), before, best, best < below, len(changes), asked.count)


def _by_importance(words: Words, whole: float, asked: _Asked, rng: random.Random) -> list[int]:
    """Content words, the one whose deletion lowers the score most first."""
    places = words.content()
    most = asked.left // 2
    if len(places) > most:
        places = sorted(rng.sample(places, most))
    scores = asked.scores([words.replaced({index: ""}) for index in places])
    falls = {index: whole - without for index, without in zip(places, scores, strict=True)}
    return sorted(places, key=lambda index: -falls[index])


def _best_change(
    words: Words,
    index: int,
    changes: dict[int, str],
    technique: Technique,
    asked: _Asked,
    rng: random.Random,
    below: float,
) -> tuple[str, float] | None:
    """The candidate that lowers the score most; of those that fool the target the first, since candidates come with
    the nearest in meaning first."""
    offered = technique.candidates(words[index], rng)
    texts = [words.replaced({**changes, index: one}) for one in offered]
    fit = [
        (one, text)
        for one, text, good in zip(offered, texts, technique.allowed(words.text, texts), strict=True)
        if good
    ]
    scores = asked.scores([text for _, text in fit])
    scored = [(one, value) for (one, _), value in zip(fit, scores, strict=False)]  # the budget may end among them
    if not scored:
        return None
    fooling = [pair for pair in scored if pair[1] < below]
    return fooling[0] if fooling else min(scored, key=lambda pair: pair[1])
