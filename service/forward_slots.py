"""How many forwards run at once, over every reward model in memory.

During a canary or with a shadow, several versions have a batcher each. Their worker threads together are more than the
cores; unbounded, they and the event loop would crowd each other. So a forward takes a slot, of which there are as many
as one batcher has workers. With one version in memory nobody ever waits.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

_PATIENCE_S = 1.0  # of one that yields: under full load it gets a forward a second and thread, and does not starve


class ForwardSlots:
    """Thread-safe."""

    def __init__(self, slots: int, patience_s: float = _PATIENCE_S) -> None:
        self._slots = slots
        self._patience_s = patience_s
        self._free = slots
        self._line: deque[object] = deque()  # who waits, in order of arrival; who yields joins late
        self._changed = threading.Condition()

    @property
    def in_use(self) -> int:
        return self._slots - self._free

    @property
    def waiting(self) -> int:
        return len(self._line)

    @contextmanager
    def slot(self, yields: bool) -> Iterator[None]:
        """Waits for a slot and holds it. One that `yields` lets all others go first and leaves them a slot free.

        In turn: a worker that is done and comes back at once does not overtake one that waits.
        """
        with self._changed:
            if yields:
                kept = min(1, self._slots - 1)
                self._changed.wait_for(lambda: self._free > kept and not self._line, self._patience_s)
            place = object()
            self._line.append(place)
            self._changed.wait_for(lambda: self._free > 0 and self._line[0] is place)
            self._line.popleft()
            self._free -= 1
            self._changed.notify_all()  # there may be a slot for the next one too
        try:
            yield
        finally:
            with self._changed:
                self._free += 1
                self._changed.notify_all()
