"""Words in odd spelling: signs for letters, marks between letters, words run together, slips of typing.

Sources: Gröndahl et al. 2018 (arXiv:1808.09115) for signs; Hosseini et al. 2017 (arXiv:1702.08138) for marks and
spaces; Norvig 2009 ("Natural Language Corpus Data") for splitting and for corrections at an edit distance of one.
Departures: only what becomes a word of the list is rewritten, so that names, versions and keys stay; a sign stands for
one letter; a slip is corrected to the most frequent word, whatever stands around it.

Evident are signs in several words and marks in several: a slip of typing is not, nor are words run together.
"""

from __future__ import annotations

import itertools
import re
import string
from collections.abc import Iterator

from guards.edits import Edit
from guards.readings.reading import Kind, Undone
from guards.readings.words import LONGEST_RUN, known, ranks, split, surprise

_SIGNS = {
    **{"4": "a", "@": "a", "8": "b", "3": "e", "9": "g", "6": "g", "1": "il", "!": "i", "|": "l", "0": "o"},
    **{"5": "s", "$": "s", "7": "t", "+": "t", "2": "z", "€": "e", "£": "l", "¢": "c"},
}
_SIGNED = re.compile(r"(?<![\w@$!|+€£¢])(?=\S*[A-Za-z0-9@$])[A-Za-z0-9@$!|+€£¢]{2,24}(?![\w@$|+€£¢])")
_LONE_SIGN = re.compile(r"(?<![^\s])[4@](?![^\s])")
_SIGN = re.compile(r"[0-9@$!|+€£¢]")
_MOST_FORMS = 16  # spellings of one word that are tried
_FEWEST_SIGNED = 2  # words with signs, of three letters or more
_EVIDENT_SIGNED = 4

_MARKED = re.compile(r"(?<![A-Za-z])[A-Za-z]{1,20}(?:[.;?:!,*_~^|-]{1,3}[A-Za-z]{1,20})+")
_STRAY = re.compile(r"(?:(?<=\s)|\A)[.;?:!,]{1,3} +(?=\S)")
_FEWEST_MARKED = 2
_EVIDENT_MARKED = 3

_RUN = re.compile(r"[A-Za-z]{9,}")
_NATS_A_LETTER = 2.2  # common words have less, letters that happen to be words ("Bag a i man a") more
_FEWEST_IN_RUN = 3  # words that a run is split into

_FEWEST_SLIPS = 2
_SHARE_OF_SLIPS = 0.12  # of the words of four letters or more
_SHARE_OF_MISSES = 0.25  # of them, neither words nor slips, in English
_MOST_SLIPS = 200  # words looked up in one text
_FOREIGN = re.compile(r"(?![A-Za-z])[^\W\d_]")
_LONG_WORD = re.compile(r"(?<![\w'.@/-])[A-Za-z]{4,20}(?![\w'@/]|-\w)")


def undo_signs(text: str) -> Iterator[Undone]:
    """ "h0w 70 m4k3", once two words of three letters are found so; then short ones of signs alone too."""
    found = [(match, _spelled(match[0])) for match in _SIGNED.finditer(text) if _SIGN.search(match[0])]
    sure = [match for match, word in found if word and len(word) > 2 and any(map(str.isalpha, match[0]))]
    words = len(text.split())
    if len(sure) < _FEWEST_SIGNED or len(sure) < 0.08 * words:
        return
    evident = len(sure) >= _EVIDENT_SIGNED and len(sure) >= 0.2 * words
    letters = [(match, "a") for match in _LONE_SIGN.finditer(text)]
    for match, word in sorted([*found, *letters], key=lambda one: one[0].start()):
        if word:
            yield _rewritten("leet", match, word, evident)


def _spelled(token: str) -> str:
    """The likeliest word that the signs spell; empty when none does, or when marks end it and it is one without."""
    bare = token.rstrip("!")
    if not _SIGN.search(bare) or (token.isdigit() and len(token) > 4):
        return ""
    forms = [token] if token == bare else [bare, token]
    found = []
    for form in forms:
        options = [_SIGNS.get(char, char.lower()) for char in form]
        for letters in itertools.islice(itertools.product(*options), _MOST_FORMS):
            word = "".join(letters)
            if known(word):
                found.append((surprise(word), word + token[len(form) :]))
    return min(found, default=(0.0, ""))[1]


def undo_marks(text: str) -> Iterator[Undone]:
    """ "h.ow ; to m,ake": marks inside words that are words without them, and marks that stand before words."""
    inside = [(match, re.sub(r"[^A-Za-z]", "", match[0])) for match in _MARKED.finditer(text)]
    inside = [(match, word) for match, word in inside if _is_marked(match[0], word)]
    stray = list(_STRAY.finditer(text))
    count = len(inside) + len(stray)
    if count < _FEWEST_MARKED:
        return
    evident = count >= _EVIDENT_MARKED and count >= 0.2 * len(text.split())
    edits = [(match, word) for match, word in inside] + [(match, "") for match in stray]
    for match, said in sorted(edits, key=lambda edit: edit[0].start()):
        yield _rewritten("marks", match, said, evident)


def _is_marked(token: str, word: str) -> bool:
    """Other than "U.S.A." and "well-known"."""
    parts = re.split(r"[^A-Za-z]+", token)
    abbreviation = all(len(part) == 1 for part in parts)
    return known(word) and not abbreviation and not all(known(part) and len(part) > 1 for part in parts)


def undo_runs(text: str) -> Iterator[Undone]:
    """ "howtobreakintoahouse": letters of no word that are several words of the list and nothing else."""
    for match in _RUN.finditer(text):
        if known(match[0]) or len(match[0]) > LONGEST_RUN:
            continue
        words = split(match[0])
        spelled = sum(len(word) for word in words if known(word))
        likely = sum(map(surprise, words)) <= _NATS_A_LETTER * len(match[0])
        if len(words) >= _FEWEST_IN_RUN and spelled >= 0.8 * len(match[0]) and likely:
            yield _rewritten("run_together", match, " ".join(words), evident=False)


def undo_slips(text: str) -> Iterator[Undone]:
    """Words of no list that are one slip away from a word, where there are several."""
    words = list(_LONG_WORD.finditer(text))
    if len(_FOREIGN.findall(text)) > 0.1 * len(words):  # another language
        return
    unknown = [match for match in words if not known(match[0]) and _may_be_a_slip(match)]
    if len(unknown) < _FEWEST_SLIPS or len(unknown) < _SHARE_OF_SLIPS * len(words):
        return
    corrected = [(match, _corrected(match[0].lower())) for match in unknown[:_MOST_SLIPS]]
    found = [(match, word) for match, word in corrected if word]
    misses = len(corrected) - len(found)
    if len(found) < _FEWEST_SLIPS or misses > _SHARE_OF_MISSES * len(words):
        return
    for match, word in found:
        yield _rewritten("typos", match, word, evident=False)


def _may_be_a_slip(match: re.Match[str]) -> bool:
    """Not a name: in lower case, or where a sentence begins."""
    word = match[0]
    return word.islower() or (word[1:].islower() and not match.string[: match.start()].rstrip(" [\"'("))


def _corrected(word: str) -> str:
    """The most frequent word of the list at one deletion, swap, replacement or insertion; empty when there is none."""
    table = ranks()
    cuts = [(word[:at], word[at:]) for at in range(1, len(word) + 1)]  # the first letter is right (Pruthi's rule)
    forms = {left + right[1:] for left, right in cuts if right}
    forms |= {left + right[1] + right[0] + right[2:] for left, right in cuts if len(right) > 1}
    forms |= {left + letter + right[1:] for left, right in cuts if right for letter in string.ascii_lowercase}
    forms |= {left + letter + right for left, right in cuts for letter in string.ascii_lowercase}
    return min((form for form in forms if len(form) > 2 and form in table), key=table.__getitem__, default="")


def _rewritten(kind: Kind, match: re.Match[str], said: str, evident: bool) -> Undone:
    return Undone(kind, match.start(), match.end(), (Edit(match.start(), match.end(), said),), evident)
