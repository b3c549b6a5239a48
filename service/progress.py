"""Progress bars for long commands, from plain (what, done, total) reports."""

from __future__ import annotations

import sys
from typing import Never

from tqdm import tqdm


class ProgressBars:
    """One bar at a time, on a terminal only: a log file gets none."""

    def __init__(self) -> None:
        self._what = ""
        self._bar: tqdm[Never] | None = None

    def __call__(self, what: str, done: int, total: int) -> None:
        if what != self._what:
            self.close()
            self._what = what
            self._bar = tqdm(total=total, desc=what, disable=not sys.stderr.isatty())
        if self._bar is not None:
            self._bar.update(done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
