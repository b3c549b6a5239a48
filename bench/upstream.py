"""A wrapped model that only waits: an OpenAI-compatible server in this process, for what is not about the model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

_ANSWER = {
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "With a spoon."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 8, "completion_tokens": 4, "total_tokens": 12},
}


@asynccontextmanager
async def upstream(hold: Callable[[], Awaitable[object]]) -> AsyncIterator[str]:
    """Its base URL, for `backend.base_url`. Each answer comes once what `hold` gives is awaited."""

    async def complete(_: web.Request) -> web.Response:
        await hold()
        return web.json_response(_ANSWER)

    async def models(_: web.Request) -> web.Response:
        return web.json_response({"data": []})

    app = web.Application()
    app.router.add_post("/v1/chat/completions", complete)
    app.router.add_get("/v1/models", models)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


def backend_settings(base_url: str) -> dict[str, str]:
    """The server's settings for it."""
    return {"kind": "openai", "base_url": base_url, "model": "waits"}
