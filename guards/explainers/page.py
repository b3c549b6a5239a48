"""An explanation as one HTML page that needs nothing else: no network, no server, dark and light.

Browsers lay out every script, so the text stands on it as it was sent, with its tokens coloured in place. Everything
from the text is data in a JSON block and reaches the page as text, never as markup.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guards.explainers.explanation import Explanation, TokenAttribution
from guards.explainers.window import Side, TokenSource

Floats = NDArray[np.float64]

_TEMPLATE = Path(__file__).parent / "page.html"
_DATA = "/*DATA*/null"
_STEPS = 255  # shades that a weight can have


@dataclass(frozen=True)
class PageTexts:
    """The texts as sent; `response` is None where a prompt alone is judged."""

    prompt: str
    response: str | None


def explanation_page(
    texts: PageTexts,
    explanations: Sequence[Explanation],
    attention_tokens: Sequence[TokenSource],
    attention: Sequence[Sequence[Floats]],
) -> str:
    """`explanations` of one text by several methods, the one to show first first; `attention` [layers][heads] of its
    worst window's tokens, each [T, T]."""
    data = {
        "sides": [_side(texts.prompt, Side.PROMPT, explanations)]
        + ([_side(texts.response, Side.RESPONSE, explanations)] if texts.response is not None else []),
        "methods": [_method(one) for one in explanations],
        "attention": {
            "tokens": [token.text if token.side is not Side.SPECIAL else "" for token in attention_tokens],
            "maps": [[_shades(matrix) for matrix in layer] for layer in attention],
        },
    }
    # A "</script>" or "<!--" in a text would end the block.
    block = json.dumps(data, ensure_ascii=True).replace("<", "\\u003c")
    return _TEMPLATE.read_text(encoding="utf-8").replace(_DATA, block)


def _side(text: str, side: Side, explanations: Sequence[Explanation]) -> dict[str, Any]:
    """The text cut at its tokens: [piece, index of the token or -1], so that nothing of it is lost."""
    tokens = [token.source for token in explanations[0].tokens if token.source.side is side]
    pieces: list[tuple[str, int]] = []
    at = 0
    for index, token in enumerate(tokens):
        if token.end <= at:  # shares its code points with the one before
            continue
        start = max(at, token.start)
        if start > at:
            pieces.append((text[at:start], -1))
        pieces.append((text[start : token.end], index))
        at = token.end
    if at < len(text):
        pieces.append((text[at:], -1))
    return {
        "name": side.value,
        "pieces": pieces,
        "values": [[token.value for token in _of(one, side)] for one in explanations],
    }


def _of(explanation: Explanation, side: Side) -> list[TokenAttribution]:
    return [token for token in explanation.tokens if token.source.side is side]


def _method(one: Explanation) -> dict[str, Any]:
    found = one.faithfulness
    return {
        "name": one.method,
        "head": one.head,
        "risk": one.risk,
        "reward": one.reward,
        "signed": one.signed,
        "faithful": one.faithful,
        "comprehensiveness": found.comprehensiveness,
        "sufficiency": found.sufficiency,
        "random_comprehensiveness": found.random_comprehensiveness,
        "random_sufficiency": found.random_sufficiency,
        "deletion": found.deletion,
        "completeness_error": one.completeness_error,
        "seconds": one.seconds,
        "windows": len(one.windows),
    }


def _shades(matrix: Floats) -> dict[str, Any]:
    """A map as bytes, scaled to its largest weight."""
    largest = float(matrix.max()) or 1.0
    shades = np.round(matrix / largest * _STEPS).astype(np.uint8)
    return {"largest": largest, "shades": base64.b64encode(shades.tobytes()).decode()}
