"""Letters replaced by letters of other scripts that look like them.

Sources: Unicode UTS #39 (confusables, through the `confusable-homoglyphs` package); Boucher et al. 2022, "Bad
Characters" (arXiv:2106.09898). Departures: one letter for one of the same case, and only from the scripts that pass
for Latin in running text (guards.confusables.FOLDED_SCRIPTS); a letter that stands alone stays, since a lone Greek
one is a symbol; Boucher searches for the worst positions, we draw them.

Severity: the probability that a letter which has look-alikes is replaced.
"""

from __future__ import annotations

import random
import re
import string
import unicodedata
from collections.abc import Mapping
from functools import cache

from confusable_homoglyphs.confusables import confusables_data

from guards.confusables import FOLDED_SCRIPTS, script
from guards.probes.transformations.base import Transformation

_WORD = re.compile(r"[^\W_]{2,}")


@cache
def _lookalikes() -> Mapping[str, tuple[str, ...]]:
    table = {}
    for letter in string.ascii_letters:
        found = (entry["c"] for entry in confusables_data.get(letter, ()))
        kept = sorted({other for other in found if _passes_for(other, letter)})
        if kept:
            table[letter] = tuple(kept)
    return table


def _passes_for(other: str, letter: str) -> bool:
    if len(other) != 1 or other.isascii() or script(other) not in FOLDED_SCRIPTS:
        return False
    return unicodedata.category(other) == unicodedata.category(letter)


def _rewrite(text: str, rng: random.Random, severity: float) -> str:
    table = _lookalikes()

    def replaced(word: re.Match[str]) -> str:
        return "".join(
            rng.choice(table[char]) if char in table and rng.random() < severity else char for char in word[0]
        )

    return _WORD.sub(replaced, text)


HOMOGLYPHS = Transformation("homoglyphs", "look-alike", True, True, _rewrite)
