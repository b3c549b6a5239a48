"""Emoji between the words.

Source: Wei et al. 2024, "Emoji Attack" (arXiv:2411.01077). Departures: they put emoji inside the tokens of a
response that a judge reads, at searched positions; we put one to three between words, drawn.

Severity: the probability of emoji after a word.
"""

from __future__ import annotations

import random
import re

from guards.probes.transformations.base import Transformation

_EMOJI = "😀😂😍🤔😎🙏👍🎉🔥✨🌈🌻🍕🍀🐶🐱🚀⭐🎈🎵"
_WORD = re.compile(r"\S+")


def _rewrite(text: str, rng: random.Random, severity: float) -> str:
    def padded(match: re.Match[str]) -> str:
        if rng.random() >= severity:
            return match[0]
        return f"{match[0]} {''.join(rng.choices(_EMOJI, k=rng.randint(1, 3)))}"

    return _WORD.sub(padded, text)


EMOJI_PADDING = Transformation("emoji_padding", "padding", False, True, _rewrite)
