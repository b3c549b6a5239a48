"""The store as the probes need it: opened when first asked for, so that a service without probes never waits for it."""

from __future__ import annotations

import asyncio
import importlib
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from guards.errors import Unavailable
from service.config import StoreSettings

if TYPE_CHECKING:
    from service.store.store import Store


class Memory:
    def __init__(self, settings: StoreSettings) -> None:
        self._settings = settings
        self._one_opens = asyncio.Lock()
        self._store: Store | None = None
        self._closed = False

    @property
    def holds_something(self) -> bool:
        """Whether runs may be kept from before. Only a SQLite file that was never made says no."""
        url = urlsplit(self._settings.url)
        return self._store is not None or url.scheme != "sqlite" or Path(url.path[1:]).exists()

    async def store(self) -> Store:
        """Raises ConfigError or Unavailable, with the mend."""
        async with self._one_opens:
            if self._closed:
                raise Unavailable("the store is closed; the service is stopping")
            if self._store is None:
                # Loading SQLAlchemy takes a third of a second, which live requests must not wait for.
                await asyncio.to_thread(importlib.import_module, "service.store.store")
                from service.store.store import Store

                self._store = await Store.open(self._settings)
            return self._store

    async def close(self) -> None:
        async with self._one_opens:
            self._closed = True
            if self._store:
                await self._store.close()
