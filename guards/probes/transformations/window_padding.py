"""Ordinary sentences before or after the text, as many as fill windows of the encoder.

Source: Gröndahl et al. 2018 (arXiv:1808.09115), "appending innocuous words", at the length of Hackett et al. 2025
(arXiv:2504.11168), who push text out of a classifier's window. Departures: the sentences of benign padding, again and
again; a window is taken for WINDOW_WORDS words.

Severity: how many windows are filled, from one up to MOST_WINDOWS at 1.
"""

from __future__ import annotations

import math
import random

from guards.probes.transformations.base import Transformation
from guards.probes.transformations.benign_padding import SENTENCES

WINDOW_WORDS = 160  # about 192 tokens of ordinary English
MOST_WINDOWS = 8


def windows_filled(severity: float) -> int:
    return max(1, math.ceil(severity * MOST_WINDOWS))


def _rewrite(text: str, rng: random.Random, severity: float) -> str:
    wanted = windows_filled(severity) * WINDOW_WORDS
    sentences: list[str] = []
    words = 0
    while words < wanted:
        sentences.append(rng.choice(SENTENCES))
        words += len(sentences[-1].split())
    cut = rng.choice((0, len(sentences) // 2, len(sentences)))  # the text comes last, in the middle or first
    return " ".join([*sentences[: len(sentences) - cut], text, *sentences[len(sentences) - cut :]])


WINDOW_PADDING = Transformation("window_padding", "padding", False, True, _rewrite)
