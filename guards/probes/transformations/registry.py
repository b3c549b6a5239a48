"""Every transformation by name, and the one door for augmentation."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from guards.errors import UnknownName
from guards.probes.transformations.accents import ACCENTS
from guards.probes.transformations.base import Transformation
from guards.probes.transformations.base64_encoding import BASE64
from guards.probes.transformations.benign_padding import BENIGN_PADDING
from guards.probes.transformations.bidi_controls import BIDI_CONTROLS
from guards.probes.transformations.chunk_split import CHUNK_SPLIT
from guards.probes.transformations.combining_marks import COMBINING_MARKS
from guards.probes.transformations.emoji_padding import EMOJI_PADDING
from guards.probes.transformations.fullwidth import FULLWIDTH
from guards.probes.transformations.hex_encoding import HEX
from guards.probes.transformations.homoglyphs import HOMOGLYPHS
from guards.probes.transformations.html_entities import HTML_ENTITIES
from guards.probes.transformations.leet import LEET
from guards.probes.transformations.letter_spacing import LETTER_SPACING
from guards.probes.transformations.letter_stream import LETTER_STREAM
from guards.probes.transformations.punctuation_noise import PUNCTUATION_NOISE
from guards.probes.transformations.quoted_frame import QUOTED_FRAME
from guards.probes.transformations.random_case import RANDOM_CASE
from guards.probes.transformations.reversal import REVERSAL
from guards.probes.transformations.rot13 import ROT13
from guards.probes.transformations.tag_characters import TAG_CHARACTERS
from guards.probes.transformations.translated_frame import TRANSLATED_FRAME
from guards.probes.transformations.typos import TYPOS
from guards.probes.transformations.url_encoding import URL
from guards.probes.transformations.window_padding import WINDOW_PADDING
from guards.probes.transformations.zero_width import ZERO_WIDTH

_ALL = (
    *(HOMOGLYPHS, FULLWIDTH, LEET),
    *(ACCENTS, COMBINING_MARKS),
    *(ZERO_WIDTH, BIDI_CONTROLS, TAG_CHARACTERS),
    *(LETTER_SPACING, LETTER_STREAM),
    *(RANDOM_CASE, TYPOS, PUNCTUATION_NOISE),
    *(EMOJI_PADDING, BENIGN_PADDING, WINDOW_PADDING),
    *(REVERSAL, BASE64, HEX, ROT13, URL, HTML_ENTITIES),
    *(CHUNK_SPLIT, QUOTED_FRAME, TRANSLATED_FRAME),
)

TRANSFORMATIONS: Mapping[str, Transformation] = MappingProxyType({one.name: one for one in _ALL})

_MILDEST = 0.1  # below it most short texts would stay as they are


def augment(text: str, rng: random.Random, names: Sequence[str]) -> tuple[str, str]:
    """The text under one of `names`, drawn evenly, at a severity drawn from [0.1, 1]; and the name.

    Raises UnknownName, and ValueError without names.
    """
    if not names:
        raise ValueError("augment needs at least one transformation")
    name = rng.choice(names)
    chosen = TRANSFORMATIONS.get(name)
    if chosen is None:
        raise UnknownName("transformation", name, tuple(TRANSFORMATIONS))
    return chosen.transform(text, rng, rng.uniform(_MILDEST, 1.0)), name
