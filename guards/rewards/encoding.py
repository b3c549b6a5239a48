"""Text to token windows with spans. Nothing is cut silently: `coverage` says what was left out.

A prompt is [CLS] window [SEP]; an exchange is [CLS] conversation-tail [SEP] response-window [SEP]
with segment 1 from the response on. Every token of the judged text lies in some window, unless
`max_windows` bounds the work; then the windows kept come from both ends of the text. A prompt's sentences
in them may be windows, too (guards/rewards/sentences.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tokenizers import Encoding, Tokenizer

from guards.base import ScoreInput
from guards.errors import ModelError
from guards.normalize import NormalizedText
from guards.readings.reading import Reading
from guards.rewards.manifest import Kind, WindowSpec
from guards.rewards.runtimes.base import IntArray, TokenBatch
from guards.rewards.sentences import sentence_bounds
from guards.rewards.whole_words import whole_words
from guards.types import Coverage
from guards.windows import windows

Bounds = list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class EncodedSequence:
    """One window, int64 [tokens] with special tokens.

    `start`, `end`: code points of the window in `NormalizedText.original` of the judged text, or of what was
    read in another way; then `reading` says how.
    """

    input_ids: IntArray
    segment_ids: IntArray
    start: int
    end: int
    reading: str = ""

    def __len__(self) -> int:
        return int(self.input_ids.shape[0])


@dataclass(frozen=True, slots=True)
class EncodedText:
    """All windows and sentences of one judged text, then those of its readings; none when no head judges it."""

    kind: Kind
    sequences: tuple[EncodedSequence, ...]
    coverage: Coverage


@dataclass(frozen=True, slots=True)
class TracedWindow:
    """The first window of a judged text with the way back to the text, for what looks at single tokens.

    The text's own tokens begin at position `first`; `offsets` has for each its code points [start, end) of the
    normalized text.
    """

    sequence: EncodedSequence
    first: int
    offsets: tuple[tuple[int, int], ...]


class TextEncoder:
    """Thread-safe: `tokenizers` does not mutate on encode."""

    def __init__(self, tokenizer: Tokenizer, window: WindowSpec) -> None:
        # tokenizer.json of the encoder asks for truncation at 128 and padding to 128: both would hide text.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        # "[SEP]" in a text is text, not a separator.
        tokenizer.encode_special_tokens = True
        self._tokenizer = tokenizer
        self._window = window
        self._cls = _special(tokenizer, "[CLS]")
        self._sep = _special(tokenizer, "[SEP]")

    @classmethod
    def from_file(cls, path: Path, window: WindowSpec) -> TextEncoder:
        try:
            # tokenizers raises bare Exception for anything wrong with the file
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:
            raise ModelError(f"cannot read the tokenizer {path}; run `wardgate models pull`") from error
        return cls(tokenizer, window)

    def encode(self, item: ScoreInput, max_windows: int) -> EncodedText:
        """At most `max_windows` (>= 1) windows; an empty text still gives one."""
        if item.response is None:
            texts = (item.prompt, *(reading.text for reading in item.readings))
            first, *others = (self._windowed("prompt", text, (self._cls,), (), max_windows) for text in texts)
            return beside(first, item.readings, others)
        head = (self._cls, *self._tail(item.answered), self._sep)
        return self._windowed("exchange", item.response, (), head, max_windows)

    def trace(self, item: ScoreInput) -> TracedWindow:
        encoded = self.encode(item, 1)
        judged = item.prompt if item.response is None else item.response
        own = encoded.coverage.tokens_scored
        sequence = encoded.sequences[0]
        return TracedWindow(sequence, len(sequence) - own - 1, tuple(self.tokens(judged.text).offsets[:own]))

    def whole_words(self) -> dict[str, int]:
        return whole_words(self._tokenizer)

    def tokens(self, text: str) -> Encoding:
        """Without special tokens."""
        return self._tokenizer.encode(text, add_special_tokens=False)

    def bounds(self, kind: Kind, text: str, tokens: Encoding, max_windows: int) -> tuple[Bounds, Bounds]:
        """Tokens [start, end) of a judged text's windows, and of the sentences that are read alone."""
        total = len(tokens.ids)
        bounds = list(windows(total, self._window.size, self._window.overlap)) if total else [(0, 0)]
        kept = both_ends(bounds, max_windows)
        if kind != "prompt" or self._window.sentences is None:
            return kept, []
        sentences = sentence_bounds(text, tokens.offsets, self._window.sentences)
        return kept, [one for one in sentences if self._is_read(one, kept)]

    def _is_read(self, sentence: tuple[int, int], kept: Bounds) -> bool:
        """A sentence that is no longer than a window, of the part of the text that is scored."""
        start, end = sentence
        edges = (any(first <= token < last for first, last in kept) for token in (start, end - 1))
        return end - start <= self._window.size and all(edges)

    def context_start(self, total: int) -> int:
        """The first of a prompt's tokens that a response's windows see."""
        return max(0, total - self._window.context)

    def special(self, token: str) -> int:
        """Raises ModelError when the tokenizer has no such token."""
        return _special(self._tokenizer, token)

    def _tail(self, prompt: NormalizedText) -> list[int]:
        ids = self.tokens(prompt.text).ids
        return ids[self.context_start(len(ids)) :]

    def _windowed(
        self, kind: Kind, text: NormalizedText, opening: Sequence[int], context: Sequence[int], max_windows: int
    ) -> EncodedText:
        tokens = self.tokens(text.text)
        kept, sentences = self.bounds(kind, text.text, tokens, max_windows)
        own_segment = 0 if kind == "prompt" else 1
        sequences = []
        for start, end in (*kept, *sentences):
            body = [*opening, *tokens.ids[start:end], self._sep]
            ids = np.array([*context, *body], dtype=np.int64)
            segments = np.array([0] * len(context) + [own_segment] * len(body), dtype=np.int64)
            sequences.append(EncodedSequence(ids, segments, *source_of(text, tokens.offsets, start, end)))
        coverage = Coverage(len(tokens.ids), covered(kept), len(kept))
        return EncodedText(kind, tuple(sequences), coverage)


def beside(text: EncodedText, readings: Sequence[Reading], encoded: Sequence[EncodedText]) -> EncodedText:
    """A text's windows and those of its readings; all tokens count for coverage, so that no reading is cut silently."""
    sequences = list(text.sequences)
    coverage = text.coverage
    for reading, other in zip(readings, encoded, strict=True):
        start, end = reading.source
        sequences += (replace(one, start=start, end=end, reading=reading.kinds) for one in other.sequences)
        coverage += other.coverage
    return EncodedText(text.kind, tuple(sequences), coverage)


def both_ends(bounds: Sequence[tuple[int, int]], limit: int) -> list[tuple[int, int]]:
    """The first half and the last half of `limit` windows: padding one end must not hide the other."""
    if len(bounds) <= limit:
        return list(bounds)
    first = (limit + 1) // 2
    last = limit - first
    return [*bounds[:first], *bounds[len(bounds) - last :]]


def covered(bounds: Sequence[tuple[int, int]]) -> int:
    """Positions inside at least one of the intervals, which are sorted by start."""
    count, seen = 0, 0
    for start, end in bounds:
        count += max(0, end - max(start, seen))
        seen = max(seen, end)
    return count


def pad(sequences: Sequence[EncodedSequence]) -> TokenBatch:
    """One batch [len(sequences), longest]; padding has id 0, segment 0 and mask 0."""
    longest = max(len(sequence) for sequence in sequences)
    shape = (len(sequences), longest)
    ids, mask, segments = (np.zeros(shape, dtype=np.int64) for _ in range(3))
    for row, sequence in enumerate(sequences):
        n = len(sequence)
        ids[row, :n] = sequence.input_ids
        mask[row, :n] = 1
        segments[row, :n] = sequence.segment_ids
    return TokenBatch(ids, mask, segments)


def source_of(text: NormalizedText, offsets: Sequence[tuple[int, int]], start: int, end: int) -> tuple[int, int]:
    """Tokens [start, end) in code points of the original; the outer windows reach the text's ends."""
    first = 0 if start == 0 else text.source_span(*offsets[start])[0]
    last = len(text.original) if end == len(offsets) else text.source_span(*offsets[end - 1])[1]
    return first, last


def _special(tokenizer: Tokenizer, token: str) -> int:
    found = tokenizer.token_to_id(token)
    if found is None:
        raise ModelError(f"the encoder's tokenizer has no {token} token; it cannot carry these heads")
    return found
