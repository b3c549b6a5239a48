"""The sentences of a prompt as windows of their own: what is said among many others is also read alone.

A mean over a window, or over a part of it, lets the words around a sentence weigh in, and whoever writes them chooses
them. Alone, it reads as if it had been sent alone. The windows over the whole text stay, since what is told over
several sentences is in none of them. Source: a bag counts as its worst instance (multiple-instance learning, Dietterich
1997), with sentences for instances. Departures: ends of sentences are signs, not grammar; what is short joins its
neighbour, so that an abbreviation or a list's number is no sentence. In a very long text more is short: a text has at
most `_MOST` sentences.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from guards.rewards.manifest import SentencesSpec

# the second are full-width; looking back keeps a long run of signs from being tried from each of them anew
_END = re.compile(r"""(?<=[.!?;:…])["'”’)\]]*\s+|[。！？；]+|\n+""")
_MOST = 256  # sentences of one text


def pieces_of(text: str) -> list[str]:
    """The text between one end of a sentence or line and the next, however short."""
    cuts = [0, *(match.end() for match in _END.finditer(text)), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(cuts) if start < end]


def sentence_bounds(text: str, offsets: Sequence[tuple[int, int]], spec: SentencesSpec) -> list[tuple[int, int]]:
    """Tokens [start, end) of each sentence, in order and without gaps; none of a text that is short or has only one.

    `offsets`: code points [start, end) of each token in `text`.
    """
    total = len(offsets)
    if total < spec.from_tokens:
        return []
    least = max(spec.least, -(-total // _MOST))
    cuts = [0]
    ends = (match.end() for match in _END.finditer(text))
    end = next(ends, None)
    for token, (start, _) in enumerate(offsets):
        while end is not None and end <= start:
            if token - cuts[-1] >= least:
                cuts.append(token)
            end = next(ends, None)
    if len(cuts) > 1 and total - cuts[-1] < least:
        cuts.pop()
    bounds = list(zip(cuts, [*cuts[1:], total], strict=True))
    return bounds if len(bounds) > 1 else []
