"""Waiting for what another task or thread brings about, with an end to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable


async def until(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    """Returns as soon as `condition` holds."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "what was waited for never came about"
        await asyncio.sleep(0.005)


async def until_true(attempt: Callable[[], Awaitable[bool]], within_s: float = 60.0) -> None:
    """Tries again until `attempt` gives True."""
    deadline = time.monotonic() + within_s
    while not await attempt():
        assert time.monotonic() < deadline, "what was tried never worked"
        await asyncio.sleep(0.005)
