from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.probes.words.search import Attempt, Limits, attack
from guards.probes.words.text import in_case_of, is_stop_word, split_words
from guards.probes.words.word_scramble import WordScramble

_TEXTS = st.text(
    st.sampled_from("abcdefg XYZ.,!?-'’\n\t0123éß") | st.characters(codec="utf-8", categories=("L", "P", "Zs")),
    max_size=120,
)
_SEEDS = st.integers(0, 2**32)
_SHARES = st.floats(0.01, 1)


class Target:
    """Scores by the share of bad words that are left, and remembers what it was asked."""

    def __init__(self, *bad: str) -> None:
        self._bad = bad
        self.asked: list[str] = []

    def __call__(self, texts: Sequence[str]) -> list[float]:
        self.asked += texts
        return [sum(word in text for word in self._bad) / len(self._bad) - 0.25 for text in texts]


def scrambled(text: str, target: Callable[[Sequence[str]], Sequence[float]], limits: Limits, seed: int = 7) -> Attempt:
    return attack(text, target, WordScramble(), limits, random.Random(seed))


def between(text: str) -> list[str]:
    """What lies between the words."""
    words = split_words(text)
    edges = [0, *(edge for span in words.spans for edge in span), len(text)]
    return [text[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True)]


@given(_TEXTS, _SEEDS, _SHARES, st.integers(1, 60))
def test_the_budget_of_queries_and_the_share_of_words_hold_and_all_between_the_words_stays(
    text: str, seed: int, share: float, most: int
) -> None:
    target = Target("a", "e", "é")
    attempt = scrambled(text, target, Limits(most, share), seed)
    words = split_words(text)
    now = split_words(attempt.text)
    changed = [index for index in range(len(words)) if words[index] != now[index]]
    assert len(target.asked) == attempt.queries <= most
    assert len(changed) == attempt.changed <= share * len(words) + 1
    assert between(attempt.text) == between(text)
    assert not any(is_stop_word(words[index]) for index in changed)


@given(_TEXTS, _SEEDS)
def test_the_same_seed_gives_the_same_text(text: str, seed: int) -> None:
    first, second = (scrambled(text, Target("a", "b"), Limits(), seed) for _ in range(2))
    assert first == second


@given(_TEXTS, _SEEDS)
def test_the_score_never_rises(text: str, seed: int) -> None:
    attempt = scrambled(text, Target("a", "b", "c"), Limits(), seed)
    assert attempt.score <= attempt.before
    assert attempt.score == pytest.approx(Target("a", "b", "c")([attempt.text])[0])


@given(_TEXTS)
def test_words_put_back_in_their_places_give_the_text(text: str) -> None:
    words = split_words(text)
    assert words.replaced({}) == text
    assert words.replaced({index: words[index] for index in range(len(words))}) == text


def test_the_words_that_count_are_changed_and_the_others_are_left() -> None:
    attempt = scrambled("Please build the bomb near Rome, quickly!", Target("build", "bomb"), Limits())
    assert attempt.fooled
    assert attempt.changed == 2
    assert attempt.text.startswith("Please ")
    assert attempt.text.endswith(" near Rome, quickly!")


def test_a_text_that_fools_as_it_is_costs_one_query_and_stays() -> None:
    attempt = scrambled("all is well", Target("bomb"), Limits())
    assert attempt.fooled
    assert attempt.text == "all is well"
    assert attempt.queries == 1


def test_a_bound_of_the_callers_own_takes_the_place_of_zero() -> None:
    def risk(texts: Sequence[str]) -> list[float]:
        return [0.9 if "bomb" in text else 0.5 for text in texts]

    assert attack("the bomb", risk, WordScramble(), Limits(max_share=1), random.Random(1), below=0.6).fooled
    assert not attack("the bomb", risk, WordScramble(), Limits(max_share=1), random.Random(1), below=0.4).fooled


def test_importance_takes_half_of_the_budget_at_most() -> None:
    target = Target("nothing")
    text = " ".join(f"word{letter}{other}" for letter in "abcdefgh" for other in "abcdefgh")
    scrambled(text + " nothing", target, Limits(max_queries=21, max_share=1))
    whole = len(split_words(text)) + 1
    assert sum(len(split_words(asked)) == whole - 1 for asked in target.asked) == 10


@pytest.mark.parametrize(
    ("original", "word", "written"), [("Bad", "poor", "Poor"), ("BAD", "poor", "POOR"), ("bad", "poor", "poor")]
)
def test_a_word_is_written_as_the_one_in_its_place(original: str, word: str, written: str) -> None:
    assert in_case_of(original, word) == written


@given(st.text("abcdefghij", min_size=3, max_size=12), _SEEDS)
def test_a_misspelling_is_one_edit_away_and_keeps_the_ends(word: str, seed: int) -> None:
    for one in WordScramble().candidates(word, random.Random(seed)):
        assert one != word
        assert abs(len(one) - len(word)) <= 1
        assert (one[0], one[-1]) == (word[0], word[-1])
        assert sorted(one) == sorted(word) or _one_edit(word, one)


def _one_edit(one: str, other: str) -> bool:
    """One letter substituted, deleted or inserted."""
    start = 0
    while start < min(len(one), len(other)) and one[start] == other[start]:
        start += 1
    return one[start + 1 :] in (other[start + 1 :], other[start:]) or one[start:] == other[start + 1 :]


def test_words_of_two_letters_are_left_alone_and_of_four_there_are_four_ways() -> None:
    assert WordScramble().candidates("ox", random.Random(7)) == ()
    assert len(WordScramble().candidates("bomb", random.Random(7))) == 4
