"""A child that ends with its parent, however that came about."""

from __future__ import annotations

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1  # of <sys/prctl.h>


def die_with_the_parent() -> None:
    """At once, also while this process is stopped. Elsewhere than on Linux the broken pipe ends it, once it goes on.

    Linux means the thread that started this process: it must live as long as the process is wanted.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
