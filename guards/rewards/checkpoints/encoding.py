"""Texts to windows in a checkpoint's own layout. Nothing of a judged text is cut silently: `coverage` says what was.

A response that does not fit with its prompt keeps the prompt's tail as context, and goes through in windows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from guards.base import ScoreInput
from guards.errors import ModelError
from guards.normalize import NormalizedText
from guards.rewards.checkpoints.files import CheckpointFiles
from guards.rewards.checkpoints.layout import Fixed, Layout, Slot, find_layout
from guards.rewards.checkpoints.plain_text import PlainTokenizer, TextTokens, template_tokenizer
from guards.rewards.checkpoints.spec import CheckpointSpec
from guards.rewards.encoding import EncodedSequence, EncodedText, TracedWindow, beside, both_ends, covered, source_of
from guards.rewards.manifest import Kind
from guards.types import Coverage, Stage
from guards.windows import windows

_LONGEST_UNASKED = 2048  # tokens; a window's cost grows with its square, so longer ones are asked for
_LEAST_ROOM = 8  # tokens of text in a window; fewer say nothing


@dataclass(frozen=True, slots=True)
class _Windowing:
    """Tokens. `room`: what texts may have of a window, after the layout's own tokens."""

    room: int
    context: int
    overlap: int


class CheckpointEncoder:
    """Thread-safe: nothing is written after construction."""

    def __init__(self, spec: CheckpointSpec, files: CheckpointFiles) -> None:
        tokenizer = template_tokenizer(files)
        self._layouts: Mapping[Stage, Layout] = {
            Stage(side): find_layout(spec, files, tokenizer, side) for side in sorted(spec.judges)
        }
        literals = [literal for layout in self._layouts.values() for literal in layout.literals]
        self._text = PlainTokenizer(files, literals)
        self._windowing = {
            stage: _windowing(spec, files, layout.fixed_tokens) for stage, layout in self._layouts.items()
        }

    @property
    def longest(self) -> int:
        """Tokens of the longest window there can be."""
        return max(layout.fixed_tokens + self._windowing[stage].room for stage, layout in self._layouts.items())

    def encode(self, item: ScoreInput, max_windows: int) -> EncodedText:
        """At most `max_windows` (>= 1) windows, one of an empty text, none of a text that the model does not judge."""
        kind: Kind = "prompt" if item.response is None else "exchange"
        stage = Stage.REQUEST if item.response is None else Stage.RESPONSE
        if stage not in self._layouts:
            return EncodedText(kind, (), Coverage())
        if item.response is not None:
            return self._windowed(kind, stage, item, item.response, max_windows)
        first, *others = (
            self._windowed(kind, stage, item, text, max_windows)
            for text in (item.prompt, *(reading.text for reading in item.readings))
        )
        return beside(first, item.readings, others)

    def _windowed(
        self, kind: Kind, stage: Stage, item: ScoreInput, judged: NormalizedText, max_windows: int
    ) -> EncodedText:
        layout, windowing = self._layouts[stage], self._windowing[stage]
        tokens = self._text.encode(judged.text)
        context: list[int] = []
        if layout.has_context:
            before = self._text.encode(item.prompt.text).ids
            kept = max(windowing.context, windowing.room - max(1, len(tokens)))
            context = before[max(0, len(before) - kept) :]
        size = windowing.room - len(context)
        bounds = list(windows(len(tokens), size, min(windowing.overlap, size // 2))) or [(0, 0)]
        taken = both_ends(bounds, max_windows)
        sequences = tuple(_sequence(layout, judged, tokens, context, start, end) for start, end in taken)
        return EncodedText(kind, sequences, Coverage(len(tokens), covered(taken), len(taken)))

    def trace(self, item: ScoreInput) -> TracedWindow:
        """Raises ModelError for a side that the model does not judge."""
        stage = Stage.REQUEST if item.response is None else Stage.RESPONSE
        encoded = self.encode(item, 1)
        if not encoded.sequences:
            raise ModelError(f"the model does not judge the {stage.value} side")
        judged = item.prompt if item.response is None else item.response
        sequence, own = encoded.sequences[0], encoded.coverage.tokens_scored
        layout = self._layouts[stage]
        context = len(sequence) - layout.fixed_tokens - own
        first = 0
        for piece in layout.pieces:
            if isinstance(piece, Slot) and piece.name == layout.judged:
                break
            first += len(piece.ids) if isinstance(piece, Fixed) else context
        return TracedWindow(sequence, first, tuple(self._text.encode(judged.text).offsets[:own]))

    def whole_words(self) -> dict[str, int]:
        return self._text.whole_words()


def _sequence(
    layout: Layout, judged: NormalizedText, tokens: TextTokens, context: list[int], start: int, end: int
) -> EncodedSequence:
    ids: list[int] = []
    segments: list[int] = []
    for piece in layout.pieces:
        if isinstance(piece, Fixed):
            part = list(piece.ids)
        else:
            part = tokens.ids[start:end] if piece.name == layout.judged else context
        ids.extend(part)
        segments.extend([piece.segment] * len(part))
    first, last = source_of(judged, tokens.offsets, start, end)
    return EncodedSequence(np.array(ids, dtype=np.int64), np.array(segments, dtype=np.int64), first, last)


def _windowing(spec: CheckpointSpec, files: CheckpointFiles, fixed_tokens: int) -> _Windowing:
    most = files.max_tokens
    if spec.window is None and most is None:
        raise ModelError(f"{files.folder} does not say how many tokens it takes; set `window`")
    window = spec.window or min(most or _LONGEST_UNASKED, _LONGEST_UNASKED)
    if most is not None and window > most:
        raise ModelError(f"{files.folder} takes {most} tokens at most; set `window` to {most} or less")
    room = window - fixed_tokens
    context = room // 2 if spec.context is None else spec.context
    if room - context < _LEAST_ROOM:
        raise ModelError(
            f"{files.folder}: a window of {window} tokens with {fixed_tokens} of the template and {context} of the "
            f"prompt leaves fewer than {_LEAST_ROOM} for a text; raise `window` or lower `context`"
        )
    return _Windowing(room, context, spec.overlap)
