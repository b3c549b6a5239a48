"""A text cut into labelled parts, put together again.

Source: Kang et al. 2023, "Exploiting Programmatic Behavior of LLMs" (arXiv:2302.05733), "payload splitting". Two forms:
numbered parts in brackets or quotes ("Part 2: [[ke a]]"), and strings given to names (`b = "ke a"`), joined in the
order in which they stand. Departure: no program is run, so an order other than that is not followed.

Evident when the cuts go through words: that is no way to list things.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from guards.edits import Edit
from guards.readings.reading import Undone
from guards.readings.words import WORD, known

_QUOTED = r"(?:\[\[(?P<a>.*?)\]\]|\[(?P<b>[^\[\]\n]*)\]|\"(?P<c>[^\"\n]*)\"|'(?P<d>[^'\n]*)'|<<?(?P<e>[^<>\n]*)>>?)"
_PART = re.compile(
    r"(?:(?:\b(?:part|piece|chunk|fragment|segment|step|line|string|token)\s*)?#?\(?\b(?:\d{1,3}|[a-h])\)?\s*[:.=)-]\s*"
    r"|\b[A-Za-z_]\w{0,20}\s*=\s*)" + _QUOTED + r"[;,]?",
    re.IGNORECASE | re.DOTALL,
)
_LEAST_CUT_WORDS = 1


def undo_parts(text: str) -> Iterator[Undone]:
    """Neighbouring parts, with nothing but white space between, are one passage."""
    group: list[re.Match[str]] = []
    for match in _PART.finditer(text):
        if group and text[group[-1].end() : match.start()].strip(" \n\t+,;&"):
            yield from _joined(group)
            group = []
        group.append(match)
    yield from _joined(group)


def _joined(parts: list[re.Match[str]]) -> Iterator[Undone]:
    if len(parts) < 2:
        return
    edits = []
    at = parts[0].start()
    before = ""
    for part in parts:
        start, end = next(part.span(name) for name in "abcde" if part[name] is not None)
        content = part.string[start:end]
        edits.append(Edit(at, start, _between(before, content)))
        at, before = end, content
    edits.append(Edit(at, parts[-1].end(), ""))
    contents = [next(part[name] for name in "abcde" if part[name] is not None) for part in parts]
    yield Undone("parts", parts[0].start(), parts[-1].end(), tuple(edits), _cut_words(contents) >= _LEAST_CUT_WORDS)


def _between(left: str, right: str) -> str:
    """Nothing where a word goes on, else a space."""
    ending, opening = re.search(r"[A-Za-z']+\Z", left), re.match(r"[A-Za-z']+", right)
    if not ending or not opening or known(ending[0] + opening[0]):
        return ""
    return " " if known(ending[0]) and known(opening[0]) else ""


def _cut_words(contents: list[str]) -> int:
    """Words that stand whole only across a cut, and in pieces that are none beside it."""
    count = 0
    for left, right in itertools.pairwise(contents):
        ending, opening = re.search(r"[A-Za-z]+\Z", left), re.match(r"[A-Za-z]+", right)
        if ending and opening:
            whole = ending[0] + opening[0]
            count += known(whole) and not (known(ending[0]) and known(opening[0])) and bool(WORD.fullmatch(whole))
    return count
