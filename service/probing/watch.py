"""Runs as they change, for many watchers: one look at the store serves all; each gets the newest in its time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field

from guards.errors import Overloaded, Unavailable
from service.probing.runs import RunView
from service.store.probe_records import FINAL_STATES

_LOOK_S = 0.5
_MOST = 128  # watchers


@dataclass
class _Feed:
    """`version` counts the changes. `error` ends it."""

    watchers: int = 0
    version: int = 0
    latest: RunView | None = None
    error: Exception | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    def tell(self, view: RunView | None = None, error: Exception | None = None) -> None:
        if view is None or view != self.latest:
            self.latest, self.error, self.version = view or self.latest, error, self.version + 1
            self.changed.set()
            self.changed = asyncio.Event()


class Watches:
    """`look` reads a run. Nothing runs while nobody watches."""

    def __init__(self, look: Callable[[str], Awaitable[RunView]]) -> None:
        self._look = look
        self._feeds: dict[str, _Feed] = {}
        self._closed = False

    @property
    def watched(self) -> frozenset[str]:
        """Runs that somebody watches."""
        return frozenset(self._feeds)

    async def watch(self, run_id: str) -> AsyncGenerator[RunView, None]:
        """The run now, and whenever it has changed, to its end. Raises UnknownName, Overloaded and Unavailable."""
        if self._closed:
            raise _stopping()
        if sum(feed.watchers for feed in self._feeds.values()) >= _MOST:
            raise Overloaded(f"{_MOST} calls watch runs already; ask GetProbeRun now and then", 5.0)
        feed = self._feeds.setdefault(run_id, _Feed())
        feed.watchers += 1
        if feed.task is None:
            feed.task = asyncio.create_task(self._follow(run_id, feed), name="probe-watch")
        seen = 0
        try:
            while True:
                changed = feed.changed
                if feed.version == seen:
                    await changed.wait()
                seen = feed.version
                if feed.error:
                    raise feed.error
                assert feed.latest is not None
                view = feed.latest
                yield view
                if view.run.state in FINAL_STATES:
                    return
        finally:
            feed.watchers -= 1
            if feed.watchers == 0:
                feed.task.cancel()
                if self._feeds.get(run_id) is feed:
                    del self._feeds[run_id]

    def close(self) -> None:
        """Every watcher is told at once that the service stops."""
        self._closed = True
        for feed in self._feeds.values():
            if feed.task:
                feed.task.cancel()
            feed.tell(error=_stopping())

    async def _follow(self, run_id: str, feed: _Feed) -> None:
        while True:
            try:
                view = await self._look(run_id)
            except Exception as error:
                feed.tell(error=error)
                self._feeds.pop(run_id, None)  # who comes later looks again
                return
            feed.tell(view)
            if view.run.state in FINAL_STATES:
                return
            await asyncio.sleep(_LOOK_S)


def _stopping() -> Unavailable:
    return Unavailable("the server is stopping; watch the run on another replica")
