"""A text's windows as explainers see them: the tokens that were scored, each with its place in the text as sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from tokenizers import Encoding

from guards.base import ScoreInput
from guards.explainers.window import Side, TokenSource, TokenWindow
from guards.normalize import NormalizedText
from guards.readings.reading import Reading
from guards.rewards.encoding import TextEncoder
from guards.rewards.manifest import Kind


def token_windows(encoder: TextEncoder, item: ScoreInput, max_windows: int) -> tuple[TokenWindow, ...]:
    """Of the text without its readings, in the order of `encoder.encode`; none of them is padded."""
    encoded = encoder.encode(replace(item, readings=()), max_windows)
    judged, side = (item.prompt, Side.PROMPT) if item.response is None else (item.response, Side.RESPONSE)
    kind: Kind = "prompt" if item.response is None else "exchange"
    tokens = encoder.tokens(judged.text)
    own = _sources(tokens, judged, side)
    special = TokenSource(Side.SPECIAL, "", 0, 0)
    opening = [special]
    if item.response is not None:
        context = _sources(encoder.tokens(item.answered.text), item.answered, Side.PROMPT)
        opening = [special, *context[encoder.context_start(len(context)) :], special]
    found = []
    kept, sentences = encoder.bounds(kind, judged.text, tokens, max_windows)
    for number, (sequence, (start, end)) in enumerate(zip(encoded.sequences, (*kept, *sentences), strict=True)):
        sources = (*opening, *own[start:end], special)
        assert len(sources) == len(sequence)
        mask = np.ones(len(sequence), dtype=np.int64)
        alone = number >= len(kept)
        found.append(TokenWindow(sequence.input_ids, sequence.segment_ids, mask, sources, alone))
    return tuple(found)


def reading_windows(encoder: TextEncoder, reading: Reading, max_windows: int) -> tuple[TokenWindow, ...]:
    """Of what a request also says: its tokens show what was read, and their places the passage it was read from."""
    text = reading.text
    offsets = encoder.tokens(text.text).offsets
    found = []
    for window in token_windows(encoder, ScoreInput(text), max_windows):
        sources = (
            replace(source, text=text.text[slice(*offsets[source.index])]) if source.side is Side.PROMPT else source
            for source in window.sources
        )
        found.append(replace(window, sources=tuple(sources)))
    return tuple(found)


def _sources(tokens: Encoding, text: NormalizedText, side: Side) -> Sequence[TokenSource]:
    found = []
    for index, (start, end) in enumerate(tokens.offsets):
        first, last = text.source_span(start, end)
        found.append(TokenSource(side, text.original[first:last], first, last, index))
    return found
