"""Words whose letters stand apart, "k i l l", are joined.

Only ASCII letters, four or more in a row: "a b c" and digits stay. Without wider gaps between them the words run
together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from guards.edits import Edit

# Four or more single letters with one to three spaces between; one space parts letters, more part words.
_SPACED_OUT = re.compile(r"(?:(?<! ) {2,3})?(?<![\w'-])[A-Za-z](?: {1,3}[A-Za-z](?![\w'-])){3,}(?: {2,3}(?! ))?")
_SPACED_WORD = re.compile("[A-Za-z] [A-Za-z] [A-Za-z]")
LETTERS_APART = re.compile(" [A-Za-z] [A-Za-z](?![A-Za-z])")  # a cheap test first: every text is searched for it
_GAP = re.compile(" +")


def close_up(text: str) -> Iterator[Edit]:
    """Join words whose letters stand apart; the wider gaps between and around them become one space."""
    if not LETTERS_APART.search(text):
        return
    for match in _SPACED_OUT.finditer(text):
        if not _SPACED_WORD.search(match[0]):
            continue
        for gap in _GAP.finditer(text, *match.span()):
            yield Edit(gap.start(), gap.end(), " " if len(gap[0]) > 1 else "")
