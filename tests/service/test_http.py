from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from guards.errors import ConfigError
from service.config import HttpSettings
from service.http import HttpServer
from service.metrics import Metrics


@asynccontextmanager
async def serving(ready: list[bool]) -> AsyncIterator[tuple[HttpServer, aiohttp.ClientSession]]:
    server = HttpServer(HttpSettings(port=0), Metrics("9.9"), lambda: ready[0])
    await server.start()
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:
            yield server, session
    finally:
        await server.stop()


async def test_prometheus_can_read_the_metrics() -> None:
    async with serving([True]) as (_, session), session.get("/metrics") as reply:
        body = await reply.text()
    assert reply.status == 200
    assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert 'wardgate_build_info{version="9.9"} 1.0' in body


async def test_ready_follows_the_server_and_alive_does_not() -> None:
    ready = [False]
    async with serving(ready) as (_, session):
        seen = []
        for state in (False, True, False):
            ready[0] = state
            async with session.get("/readyz") as reply, session.get("/healthz") as alive:
                seen.append((reply.status, (await reply.text()).strip(), alive.status))
    assert seen == [(503, "not ready", 200), (200, "ready", 200), (503, "not ready", 200)]


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/", 404), ("GET", "/admin", 404), ("POST", "/metrics", 405)]
)
async def test_nothing_else_is_served(method: str, path: str, status: int) -> None:
    async with serving([True]) as (_, session), session.request(method, path) as reply:
        assert reply.status == status


async def test_a_taken_port_is_a_configuration_error() -> None:
    async with serving([True]) as (server, session):
        second = HttpServer(HttpSettings(port=server.port), Metrics("1"), lambda: True)
        with pytest.raises(ConfigError, match=r"http\.port"):
            await second.start()
        await second.stop()
        async with session.get("/healthz") as reply:
            assert reply.status == 200


async def test_the_port_is_free_again_after_stopping() -> None:
    async with serving([True]) as (server, _):
        port = server.port
    again = HttpServer(HttpSettings(port=port), Metrics("1"), lambda: True)
    await again.start()
    assert again.port == port
    await again.stop()


async def test_stopping_what_never_started_is_no_error() -> None:
    await HttpServer(HttpSettings(port=0), Metrics("1"), lambda: True).stop()
