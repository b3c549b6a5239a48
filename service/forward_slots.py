"""How many forwards run at once, over every reward model in memory.

During a canary or with a shadow, several versions have a batcher each. Their worker threads together are more than the
cores; unbounded, they and the event loop would crowd each other. So a forward takes a slot, of which there are as many
as one batcher has workers. With one version in memory nobody ever waits.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_PATIENCE_S = 1.0  # of one that yields: under full load it gets a forward a second and thread, and does not starve


class ForwardSlots:
    """Thread-safe."""

    def __init__(self, slots: int, patience_s: float = _PATIENCE_S) -> None:
        self._slots = slots
        self._patience_s = patience_s
        self._free = slots
        self._wanted = 0  # by those that do not yield
        self._changed = threading.Condition()

    @property
    def in_use(self) -> int:
        return self._slots - self._free

    @contextmanager
    def slot(self, yields: bool) -> Iterator[None]:
        """Waits for a slot and holds it. One that `yields` lets all others go first and leaves them a slot free."""
        with self._changed:
            if yields:
                kept = min(1, self._slots - 1)
                self._changed.wait_for(lambda: self._free > kept and not self._wanted, self._patience_s)
            self._wanted += 1
            self._changed.wait_for(lambda: self._free > 0)
            self._wanted -= 1
            self._free -= 1
        try:
            yield
        finally:
            with self._changed:
                self._free += 1
                self._changed.notify_all()
