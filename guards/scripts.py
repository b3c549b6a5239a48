"""The writing system of a text: a cheap stand-in for its language, from Python's own Unicode data.

A letter's script is the first word of its Unicode name ("CYRILLIC SMALL LETTER A"). Departure from UAX #24: no
script extensions, and at most 400 characters, evenly spread, are looked at. English and French are both Latin
here: a change between languages of one script goes unseen.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from enum import Enum
from functools import lru_cache

_LOOKED_AT = 400
_SHARE_OF_KANA = 0.1  # Japanese mixes kana into Chinese characters


class Script(Enum):
    LATIN = "latin"
    CYRILLIC = "cyrillic"
    GREEK = "greek"
    ARABIC = "arabic"
    HEBREW = "hebrew"
    DEVANAGARI = "devanagari"
    BENGALI = "bengali"
    TAMIL = "tamil"
    THAI = "thai"
    HAN = "han"
    KANA = "kana"
    HANGUL = "hangul"
    OTHER = "other"
    NONE = "none"  # no letter at all


_BY_WORD = {script.name: script for script in Script} | {
    "CJK": Script.HAN,
    "HIRAGANA": Script.KANA,
    "KATAKANA": Script.KANA,
}


def dominant_script(text: str) -> Script:
    """The script of most letters that were looked at."""
    if text.isascii():
        return Script.LATIN if any(map(str.isalpha, text)) else Script.NONE
    looked_at = text[:: max(1, -(-len(text) // _LOOKED_AT))]
    letters = Counter(_script(char) for char in looked_at if char.isalpha())
    if not letters:
        return Script.NONE
    east_asian = letters[Script.HAN] + letters[Script.KANA]
    if letters[Script.KANA] >= _SHARE_OF_KANA * east_asian:
        letters[Script.KANA], letters[Script.HAN] = east_asian, 0
    return letters.most_common(1)[0][0]


@lru_cache(maxsize=4096)
def _script(char: str) -> Script:
    return _BY_WORD.get(unicodedata.name(char, "").split(" ", maxsplit=1)[0], Script.OTHER)
