"""Slips of typing inside words: a neighbouring key, two letters swapped, one dropped, one doubled.

Sources: Pruthi et al. 2019, "Combating Adversarial Misspellings" (arXiv:1905.11268); Gao et al. 2018, "DeepWordBug"
(arXiv:1801.04354). Departures: one slip per word of four or more letters, never on the first or last letter, so
that the word can be read (Pruthi's rule); positions are drawn, not searched for; QWERTY.

Severity: the probability that such a word gets a slip.
"""

from __future__ import annotations

import random
import re

from guards.probes.transformations.base import Transformation

_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_WORD = re.compile(r"[^\W\d_]{4,}")


def _neighbours() -> dict[str, str]:
    """Keys left and right, and the nearest two of the rows above and below."""
    table = {}
    for row, keys in enumerate(_ROWS):
        for column, key in enumerate(keys):
            near = [*keys[max(column - 1, 0) : column], *keys[column + 1 : column + 2]]
            if row > 0:
                near += _ROWS[row - 1][column : column + 2]
            if row + 1 < len(_ROWS):
                near += _ROWS[row + 1][max(column - 1, 0) : column + 1]
            table[key] = "".join(near)
    return table


_NEAR = _neighbours()


def _rewrite(text: str, rng: random.Random, severity: float) -> str:
    return _WORD.sub(lambda match: _slip(match[0], rng) if rng.random() < severity else match[0], text)


def _slip(word: str, rng: random.Random) -> str:
    at = rng.randint(1, len(word) - 3)  # the letter after it is not the last one either
    kind = rng.choice(("neighbour", "swap", "drop", "double"))
    one, two = word[at], word[at + 1]
    if kind == "swap":
        middle = two + one
    elif kind == "drop":
        middle = two
    elif kind == "double":
        middle = one + one + two
    else:
        middle = rng.choice(_NEAR.get(one, one)) + two
    return word[:at] + middle + word[at + 2 :]


TYPOS = Transformation("typos", "spelling", False, True, _rewrite)
