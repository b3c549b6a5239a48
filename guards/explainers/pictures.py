"""Pictures of explanations as PNG: an attention map, the grid of all layers and heads, and a strip of coloured words.

matplotlib draws no right-to-left text and few scripts, so the strip is for Latin, Greek and Cyrillic; the page
(guards/explainers/page.py) is for every script, since browsers lay text out.
"""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from guards.errors import ConfigError
from guards.explainers.explanation import AttentionMap, Explanation, TokenAttribution
from guards.explainers.window import Side, TokenSource

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

_DPI = 120
_MOST_LABELS = 60  # tokens; more would overlap
_LINE_CHARACTERS = 72  # of the strip
_RISK, _SAFE = "#c0392b", "#2471a3"


def attention_png(attention: AttentionMap) -> bytes:
    """One map: rows are the tokens that look, columns those that are looked at."""
    figure = _figure(*_size(len(attention.tokens)))
    axes = figure.subplots()
    image = axes.imshow(attention.matrix, cmap="viridis", vmin=0.0)
    _label(axes, [_printable(token) for token in attention.tokens])
    axes.set_xlabel("is looked at")
    axes.set_ylabel("looks")
    axes.set_title(_place(attention))
    figure.colorbar(image, ax=axes, fraction=0.046, label="attention, rows sum to 1")
    return _png(figure)


def attention_grid_png(maps: Sequence[Sequence[Floats]], head: str) -> bytes:
    """Every layer (rows) and attention head (columns) of one text, small."""
    rows, columns = len(maps), len(maps[0])
    figure = _figure(1.1 * columns + 1, 1.1 * rows + 1)
    for layer, row in enumerate(maps):
        for number, matrix in enumerate(row):
            axes = figure.add_subplot(rows, columns, layer * columns + number + 1)
            axes.imshow(matrix, cmap="viridis", vmin=0.0)
            axes.set_xticks([])
            axes.set_yticks([])
            if layer == 0:
                axes.set_title(f"head {number}", fontsize=7)
            if number == 0:
                axes.set_ylabel(f"layer {layer}", fontsize=7)
    figure.suptitle(f"Attention under {head}", fontsize=9)
    return _png(figure)


def strip_png(explanation: Explanation) -> bytes:
    """Every token coloured: red raised the risk, blue lowered it; of a method without a sign, red mattered."""
    lines = _lines(explanation.tokens)
    largest = max((abs(token.value) for token in explanation.tokens), default=0.0) or 1.0
    figure = _figure(0.105 * _LINE_CHARACTERS + 0.6, 0.32 * len(lines) + 0.9)
    figure.set_layout_engine("none")  # the words are placed by hand
    axes = figure.add_axes((0.02, 0.02, 0.96, 0.96))
    axes.set_axis_off()
    axes.set_xlim(0, _LINE_CHARACTERS + 2)
    axes.set_ylim(len(lines) + 1.2, 0)
    trust = "" if explanation.faithful else "; not faithful here"
    axes.text(0, 0.6, f"{explanation.head}: risk {explanation.risk:.3f}, {explanation.method}{trust}", fontsize=9)
    for number, line in enumerate(lines):
        at = 0.0
        for token in line:
            word = _printable(token.source) + " "
            colour = _RISK if token.value > 0 else _SAFE
            strength = 0.85 * abs(token.value) / largest
            box = {"facecolor": colour, "alpha": strength, "edgecolor": "none", "pad": 1.5}
            axes.text(at, number + 1.5, word, fontsize=9, family="monospace", va="center", bbox=box)
            at += len(word)
    return _png(figure)


def _figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError("pictures need matplotlib; install wardgate[train]") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _size(tokens: int) -> tuple[float, float]:
    side = min(14.0, max(4.0, 0.28 * tokens))
    return side + 1.5, side


def _label(axes: Axes, names: Sequence[str]) -> None:
    step = 1 + len(names) // _MOST_LABELS
    places = list(range(0, len(names), step))
    shown = [names[place] for place in places]
    axes.set_xticks(places, shown, rotation=90, fontsize=7)
    axes.set_yticks(places, shown, fontsize=7)


def _place(attention: AttentionMap) -> str:
    layer = "all layers" if attention.layer is None else f"layer {attention.layer}"
    head = "mean of heads" if attention.attention_head is None else f"head {attention.attention_head}"
    return f"{attention.head}: {layer}, {head}"


def _printable(source: TokenSource) -> str:
    """What a picture can show of a token; what it cannot becomes a small box, never an error."""
    if source.side is Side.SPECIAL:
        return "\u25e6"
    shown = "".join(char if _drawn(char) else "\u25a1" for char in source.text)
    return shown.replace("$", r"\$") or "\u25a1"  # a pair of dollar signs would be mathematics


def _drawn(char: str) -> bool:
    category = unicodedata.category(char)
    return (category[0] in "LNPS" and ord(char) < 0x0530) or char == " "


def _lines(tokens: Sequence[TokenAttribution]) -> list[list[TokenAttribution]]:
    lines: list[list[TokenAttribution]] = [[]]
    length = 0
    for token in tokens:
        width = len(_printable(token.source)) + 1
        if lines[-1] and length + width > _LINE_CHARACTERS:
            lines.append([])
            length = 0
        lines[-1].append(token)
        length += width
    return lines


def _png(figure: Figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=_DPI, metadata={"Software": None})
    return out.getvalue()
