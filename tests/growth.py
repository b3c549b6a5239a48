"""Whether work grows with its input as it should, told without a limit in seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Given = TypeVar("Given")

_SHORT, _LONG = 5_000, 80_000
_LARGEST_RATIO = 64  # of times; linear work is at 16, quadratic at 256
_LEAST_S = 0.002  # what is quicker than the clock is sharp
_TRIES = 5


def grows_linearly(unit: str, work: Callable[[Given], object], prepare: Callable[[str], Given]) -> bool:
    """Whether `work` takes time linear in its text: many times `unit`, as `prepare` hands it over.

    The CPU time of the best of several tries counts: a busy machine makes work slower, never faster, so quadratic work
    does not pass by chance, and linear work needs one quiet moment only.
    """
    texts = [prepare((unit * length)[:length]) for length in (_SHORT, _LONG)]
    best = [float("inf"), float("inf")]
    for _ in range(_TRIES):
        best = [min(before, _seconds(work, text)) for before, text in zip(best, texts, strict=True)]
        if best[1] < _LARGEST_RATIO * max(best[0], _LEAST_S):
            return True
    return False


def _seconds(work: Callable[[Given], object], text: Given) -> float:
    started = time.process_time()
    work(text)
    return time.process_time() - started
