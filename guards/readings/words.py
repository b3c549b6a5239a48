"""A short list of English words, most frequent first, and how likely a word is by it.

Source: Zipf's law gives the probability of the word at rank r as 1 / (r * (ln n + 0.577)); splitting by the likeliest
words is Norvig's (2009, "Natural Language Corpus Data"). Departures: ranks instead of counts, so that the file is a
list of words. The list is counted in the training data by `python -m bench.words`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

WORDS_FILE = Path(__file__).with_name("english_words.txt")
WORD = re.compile(r"[A-Za-z]+(?:'[A-Za-z]{1,2})?")

_UNKNOWN = 9.0  # nats that an unknown word costs, and for each of its letters
_UNKNOWN_LETTER = 2.3
_LONGEST = 18  # letters of a word that a run of letters is split into
LONGEST_RUN = 600  # letters; no request without a gap is longer


@cache
def ranks() -> Mapping[str, int]:
    """Each word's place in the list, from 1."""
    return {word: rank for rank, word in enumerate(WORDS_FILE.read_text().split(), 1)}


def known(word: str) -> bool:
    return word.lower() in ranks()


def known_share(text: str) -> float:
    """Of the letters of a text's ASCII words; 0 without words."""
    words = WORD.findall(text)
    letters = sum(map(len, words))
    return sum(len(word) for word in words if known(word)) / letters if letters else 0.0


@cache
def _norm() -> float:
    return math.log(math.log(len(ranks())) + 0.577)


def surprise(word: str) -> float:
    """-ln of the word's probability, in nats."""
    rank = ranks().get(word.lower())
    return _UNKNOWN + _UNKNOWN_LETTER * len(word) if rank is None else math.log(rank) + _norm()


def split(run: str) -> list[str]:
    """A run of letters as the likeliest words; letters that fit no word stay as unknown words."""
    lower = run.lower()
    best = [0.0]
    back = [0]
    for end in range(1, len(run) + 1):
        cost, start = min(
            (best[start] + surprise(lower[start:end]), start) for start in range(max(0, end - _LONGEST), end)
        )
        best.append(cost)
        back.append(start)
    words = []
    at = len(run)
    while at:
        words.append(run[back[at] : at])
        at = back[at]
    return words[::-1]
