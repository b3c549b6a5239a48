"""Letters that look like Latin ones, from the Unicode TR39 confusables data.

Source: https://www.unicode.org/reports/tr39/ through the `confusable-homoglyphs` package. We depart
from its skeleton in three points: a capital that looks like "I" folds to "I" (TR39 says "l"), only
ASCII letters are targets, and `LOOSE` adds letters that pass for Latin ones inside a Latin word but
are not TR39 confusables (Cyrillic "к", Greek "η").
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from confusable_homoglyphs.categories import alias
from confusable_homoglyphs.confusables import confusables_data

# Scripts whose letters pass for Latin ones in running text. CJK, Arabic, Hebrew and Indic letters
# never do, and mix with Latin words in honest text.
FOLDED_SCRIPTS = frozenset(
    {"CYRILLIC", "GREEK", "ARMENIAN", "COPTIC", "CHEROKEE", "LISU", "CANADIAN_ABORIGINAL", "DESERET", "OSAGE"}
)
_EXTRA = dict(zip("вгкмнптшВГКМНТёЁєεηικτωχβ", "brkmhntwBrKMHTeEeeniktwxb", strict=True))
_CYRILLIC_TWINS = dict(zip("acekopxyiABCEHKMOPTXYI", "асекорхуіАВСЕНКМОРТХУІ", strict=True))


@lru_cache(maxsize=8192)
def script(letter: str) -> str:
    """The Unicode script of one character in capitals; "COMMON" when it belongs to none."""
    return str(alias(letter))


def _ascii_target(letter: str, homoglyphs: list[dict[str, str]]) -> str:
    targets = [entry["c"] for entry in homoglyphs if entry["c"].isascii() and entry["c"].isalpha()]
    if not targets:
        return ""
    if letter.isupper() and "l" in targets:
        return "I"
    return min(targets, key=lambda target: (target.isupper() != letter.isupper(), target))


def _strict() -> dict[str, str]:
    table = {}
    for letter, homoglyphs in confusables_data.items():
        if len(letter) == 1 and letter.isalpha() and not letter.isascii() and script(letter) in FOLDED_SCRIPTS:
            target = _ascii_target(letter, homoglyphs)
            if len(target) == 1:
                table[letter] = target
    return table


def _latin_lookalikes() -> dict[str, str]:
    """Latin-script letters and letter symbols that no language spells words with next to plain ones."""
    table = {"ɑ": "a", "ɡ": "g", "ʟ": "l"}
    for code in (*range(0x250, 0x2B0), *range(0x1D00, 0x1D26), *range(0xA730, 0xA732), 0xA7AF):
        name = unicodedata.name(chr(code), "").removeprefix("LATIN LETTER SMALL CAPITAL ")
        if len(name) == 1:
            table[chr(code)] = name.lower()
    for offset in range(26):
        letter = chr(ord("A") + offset)
        table[chr(0x1F150 + offset)] = letter  # negative circled
        table[chr(0x1F170 + offset)] = letter  # negative squared
    return table


STRICT: Mapping[str, str] = MappingProxyType(_strict())
LOOSE: Mapping[str, str] = MappingProxyType({**_EXTRA, **STRICT})
LATIN_LOOKALIKES: Mapping[str, str] = MappingProxyType(_latin_lookalikes())
CYRILLIC_TWINS: Mapping[str, str] = MappingProxyType(_CYRILLIC_TWINS)
