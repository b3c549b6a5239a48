"""Where a measurement's figures go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def give(report: Any, out: Path | None) -> None:
    """As JSON to a file, or to standard output."""
    text = json.dumps(report, indent=1)
    if out is None:
        print(text)
    else:
        out.write_text(text + "\n")
