"""One window of a text as an explainer sees it: tokens, which of them are the text's own, and where each came from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Side(StrEnum):
    """Whose text a token is of."""

    PROMPT = "prompt"
    RESPONSE = "response"
    SPECIAL = "special"  # the model's own marks, such as [CLS]


@dataclass(frozen=True, slots=True)
class TokenSource:
    """The token number `index` of its side. `start`, `end`: code points of the side's text as the caller sent it.

    All are empty for a special token. Tokens may share their code points: one sign of the caller's can stand for
    several after normalization.
    """

    side: Side
    text: str
    start: int
    end: int
    index: int = 0


@dataclass(frozen=True)
class TokenWindow:
    """`ids`, `segments`, `mask` [T] as the network takes them; mask 0 is padding, at the end only.

    `alone`: a sentence of the text, whose tokens lie in a longer window, too.
    """

    ids: Ints
    segments: Ints
    mask: Ints
    sources: tuple[TokenSource, ...]  # [T] without padding
    alone: bool = False

    @property
    def own(self) -> Flags:
        """[T]: tokens of the caller's text, which are all that an explanation is about."""
        flags = np.zeros(len(self.ids), dtype=np.bool_)
        for at, source in enumerate(self.sources):
            flags[at] = source.side is not Side.SPECIAL
        return flags

    def padded(self, length: int) -> TokenWindow:
        """The same window at the length of a longer one's batch."""
        more = length - len(self.ids)
        if more < 0:
            raise ValueError(f"a window of {len(self.ids)} tokens cannot be padded to {length}")
        ids, segments, mask = (np.pad(row, (0, more)) for row in (self.ids, self.segments, self.mask))
        return TokenWindow(ids, segments, mask, self.sources, self.alone)
