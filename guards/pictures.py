"""Pictures of reports: PNG bytes that look alike everywhere. Needs matplotlib, of the `train` extra.

Colours are Okabe and Ito's (2008), which people with any common colour blindness tell apart. Every picture is on white
so that it reads the same on a dark page.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guards.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SAFE, UNSAFE, INK, FAINT = "#0072B2", "#D55E00", "#222222", "#999999"
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#F0E442", "#000000")
_DPI = 110
_SIZE = (6.2, 4.6)  # inches
_STYLE: dict[Any, Any] = {
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "grid.alpha": 0.35,
    "legend.fontsize": 8.5,
    "legend.edgecolor": "none",
    "legend.framealpha": 0.85,
    "savefig.facecolor": "white",
    "text.parse_math": False,  # a source's name is text, also with dollars in it
}


@dataclass(frozen=True)
class Picture:
    """`text` says what the picture shows, for those who cannot see it."""

    title: str
    text: str
    png: bytes

    @property
    def data_uri(self) -> str:
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"


def picture(title: str, text: str, draw: Callable[[Figure], None], size: tuple[float, float] = _SIZE) -> Picture:
    """`size` in inches. Raises ConfigError without matplotlib."""
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError("plots need matplotlib; install wardgate[train]") from error
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        figure.axes[0].set_title(title)
        buffer = io.BytesIO()
        # A bare Figure draws with Agg: no window, no display. Without the software's version the same figures give
        # the same bytes.
        figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None}, pil_kwargs={"optimize": True})
    return Picture(title, text, buffer.getvalue())
