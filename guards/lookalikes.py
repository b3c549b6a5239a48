"""Letters that stand for Latin ones become those; the tables are in guards.confusables.

A word is judged by its company: honest text of another script stays as it is.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from guards.confusables import CYRILLIC_TWINS, FOLDED_SCRIPTS, LATIN_LOOKALIKES, LOOSE, STRICT, script
from guards.edits import Edit

_WORD = re.compile(r"[^\W_]+")
_LUNATE = re.compile("[\u03f2\u03f9]")
_LUNATE_LETTERS = {0x3F2: "c", 0x3F9: "C"}
_NOT_GREEK = (FOLDED_SCRIPTS | {"LATIN"}) - {"GREEK"}
_LOOKALIKE = re.compile(f"[{''.join(LATIN_LOOKALIKES)}]")
_FOLDABLE = re.compile(f"[{''.join(LOOSE)}]")


def fold_lunate(text: str) -> Iterator[Edit]:
    """The lunate sigma among letters that are not Greek is a "c"; NFKC would make it a sigma of another shape."""
    if not _LUNATE.search(text):
        return
    for match in _WORD.finditer(text):
        word = match[0]
        if _LUNATE.search(word) and any(script(letter) in _NOT_GREEK for letter in word):
            folded = word.translate(_LUNATE_LETTERS)
            count = sum(map(operator.ne, folded, word))
            yield Edit(match.start(), match.end(), folded, folded=count, aligned=True)


def fold_latin(text: str) -> Iterator[Edit]:
    for match in _LOOKALIKE.finditer(text):
        yield Edit(match.start(), match.end(), LATIN_LOOKALIKES[match[0]], folded=1)


@dataclass(slots=True)
class _Word:
    start: int
    text: str
    latin: str  # its Latin letters
    foreign: str  # its letters of scripts that pass for Latin
    scripts: int  # how many such scripts

    @property
    def genuine(self) -> bool:
        """Whether it has a letter that could not stand for a Latin one."""
        return any(letter not in STRICT for letter in self.foreign) and not self.motley

    @property
    def motley(self) -> bool:
        """Whether it takes look-alikes from several scripts, as no honest word does; two letters may be a formula."""
        return self.scripts > 1 and len(self.foreign) > 2 and all(letter in LOOSE for letter in self.foreign)


def fold_foreign(text: str) -> Iterator[Edit]:
    """Letters of another script, in words that mix scripts or pass as a whole for Latin words."""
    if not _FOLDABLE.search(text):
        return
    words = [_word(match) for match in _WORD.finditer(text)]
    latin = sum(len(word.latin) + len(word.foreign) * word.motley for word in words)
    foreign = sum(len(word.foreign) for word in words if not word.motley)
    for index, word in enumerate(words):
        if not word.foreign:
            continue
        if word.motley:
            table: Mapping[str, str] = LOOSE
        elif word.latin:
            table = _mixed_table(word, latin >= foreign)
        elif latin > foreign and _disguised(word, words[max(index - 1, 0) : index + 2]):
            table = STRICT
        else:
            continue
        folded = "".join([table.get(letter, letter) for letter in word.text])
        count = sum(map(operator.ne, folded, word.text))
        if count:
            yield Edit(word.start, word.start + len(folded), folded, folded=count, aligned=True)


def _word(match: re.Match[str]) -> _Word:
    text = match[0]
    if text.isascii():
        return _Word(match.start(), text, text, "", 0)
    scripts = [(letter, script(letter)) for letter in text if letter.isalpha()]
    latin = "".join(letter for letter, name in scripts if name == "LATIN")
    foreign = [(letter, name) for letter, name in scripts if name in FOLDED_SCRIPTS]
    names = {name for _, name in foreign}
    return _Word(match.start(), text, latin, "".join(letter for letter, _ in foreign), len(names))


def _mixed_table(word: _Word, mostly_latin: bool) -> Mapping[str, str]:
    foldable = all(letter in LOOSE for letter in word.foreign)
    cyrillic = all(script(letter) == "CYRILLIC" for letter in word.foreign)
    twins = cyrillic and all(letter in CYRILLIC_TWINS for letter in word.latin)
    if (foldable and (mostly_latin or not twins)) or len(word.latin) > len(word.foreign):
        return LOOSE
    return CYRILLIC_TWINS if twins else {}


def _disguised(word: _Word, neighbours: list[_Word]) -> bool:
    """A word of look-alikes only, away from genuine words of its script; a lone Greek letter is a symbol."""
    symbol = len(word.foreign) == 1 and script(word.foreign) == "GREEK"
    return not symbol and not any(near.genuine for near in neighbours)
