"""Emoji strewn between words, taken out.

Source: Wei et al. 2024, "Emoji Attack" (arXiv:2411.01077): they cut a judge's words into tokens it does not know. To
the embedded encoder each emoji is an unknown token. Departure: single emoji, such as one that ends a message, stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from guards.readings.reading import Undone, one_edit

_EMOJI = re.compile(
    " ?(?:[\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff][\ufe0f\u200d\U000e0020-\U000e007f]*)+(?: (?=[^\\w]|\\Z))?"
)
_WORD = re.compile(r"\w+")
_FEWEST = 2
_FEWEST_WORDS = 3
_EVIDENT_SHARE = 0.4  # runs of emoji for each word; people write some after a sentence, not after every other word


def undo_emoji(text: str) -> Iterator[Undone]:
    if text.isascii():
        return
    runs = list(_EMOJI.finditer(text))
    words = len(_WORD.findall(text))
    if words < _FEWEST_WORDS or len(runs) < _FEWEST or len(runs) < 0.04 * words:
        return
    evident = len(runs) >= 6 and len(runs) >= _EVIDENT_SHARE * words
    for run in runs:
        apart = " " if run.start() and run.end() < len(text) and not text[run.end()].isspace() else ""
        yield one_edit("emoji", run.start(), run.end(), apart, evident)
