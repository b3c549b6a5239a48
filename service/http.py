"""Metrics and health over HTTP, on a port of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web

from guards.errors import ConfigError
from service.config import HttpSettings
from service.metrics import CONTENT_TYPE, Metrics


class HttpServer:
    """`ready` says whether traffic is wanted. `port` is known after `start`."""

    def __init__(self, settings: HttpSettings, metrics: Metrics, ready: Callable[[], bool]) -> None:
        self._settings = settings
        self._metrics = metrics
        self._ready = ready
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self) -> None:
        """Raises ConfigError when the address cannot be used."""
        app = web.Application()
        app.router.add_get("/metrics", self._get_metrics)
        app.router.add_get("/healthz", self._get_health)
        app.router.add_get("/readyz", self._get_ready)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        address = (self._settings.host, self._settings.port)
        try:
            await web.TCPSite(self._runner, *address).start()
        except OSError as error:
            await self._runner.cleanup()
            raise ConfigError(f"http.host and http.port: cannot listen on {address}; is the port taken?") from error
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner:
            await self._runner.cleanup()

    async def _get_metrics(self, _: web.Request) -> web.Response:
        body = await asyncio.to_thread(self._metrics.render)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})

    async def _get_health(self, _: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def _get_ready(self, _: web.Request) -> web.Response:
        ready = self._ready()
        return web.Response(text="ready\n" if ready else "not ready\n", status=200 if ready else 503)
