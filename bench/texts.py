"""The texts that every measurement uses: the same on every machine and in every run."""

from __future__ import annotations

import random

_WORDS = (  # noqa: SIM905 - a list of 180 strings reads worse
    "the a this that some every one my your our their other new old small large good long short first last next "
    "customer order letter number office doctor school street garden kitchen window market train ticket morning "
    "evening winter summer question answer reason story picture message paper report meeting project budget team "
    "price money bank account card phone email address city country river water weather music film book language "
    "is was has had will can could should would must may might need want like know think ask tell give take make "
    "find keep help send write read open close start stop wait check change explain describe compare plan pay buy "
    "in on at by for with from about after before between under over into through during without because while "
    "please quickly carefully often never always today tomorrow yesterday here there again together"
).split()

_MEDIAN, _SPREAD = 4.25, 0.55  # of the log of the tokens: mean about 80
_SHORTEST, _LONGEST = 16, 256  # tokens, [CLS] and [SEP] included


def token_lengths(count: int, seed: int = 0) -> list[int]:
    """Lengths in [16, 256], mean about 80, in random order."""
    rng = random.Random(seed)
    lengths: list[int] = []
    while len(lengths) < count:
        length = round(rng.lognormvariate(_MEDIAN, _SPREAD))
        if _SHORTEST <= length <= _LONGEST:
            lengths.append(length)
    return lengths


def mixed_texts(count: int, seed: int = 0) -> list[str]:
    """English words in no order; each is one token of the embedded encoder's vocabulary."""
    rng = random.Random(seed + 1)
    return [" ".join(rng.choice(_WORDS) for _ in range(length - 2)) for length in token_lengths(count, seed)]
