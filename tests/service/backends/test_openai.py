from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from guards.errors import BackendError, ConfigError, DeadlineExceeded, InvalidInput
from guards.types import Message, Role, TextPart, ToolCall, ToolResult
from service.backends.base import FinishReason, SamplingParameters
from service.backends.breaker import CircuitBreaker
from service.backends.openai import OpenAIBackend, outcome_of

SECRET = "the moon is made of green cheese"
HELLO = (Message(Role.USER, (TextPart("hello"),)),)
SAMPLING = SamplingParameters(max_tokens=8, temperature=0.0)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def completion(text: str | None = "hi", finish: str | None = "stop", **message: Any) -> dict[str, Any]:
    return {
        "id": "c1",
        "object": "chat.completion",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}
        ],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
    }


async def answers(request: web.Request) -> web.Response:
    return web.json_response(completion())


@dataclass
class Upstream:
    """An OpenAI-compatible server that does as the test says."""

    handler: Handler = answers
    models: Handler = answers
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    health_checks: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""

    async def complete(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(await request.json())
        self.headers.append(dict(request.headers))
        self.arrived.set()
        try:
            return await self.handler(request)
        except asyncio.CancelledError:
            self.left.set()
            raise

    async def list_models(self, request: web.Request) -> web.StreamResponse:
        self.health_checks += 1
        return await self.models(request)


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    state = Upstream()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", state.complete)
    app.router.add_get("/v1/models", state.list_models)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    state.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield state
    await runner.cleanup()


@asynccontextmanager
async def backend_at(url: str, **settings: Any) -> AsyncIterator[OpenAIBackend]:
    backend = OpenAIBackend(url, "some-model", **settings)
    await backend.start()
    try:
        yield backend
    finally:
        await backend.stop()


@asynccontextmanager
async def raw_server(reply: bytes, *, reset: bool = False) -> AsyncIterator[str]:
    """Sends `reply` to whoever asks, then hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        await writer.drain()
        if reset:
            writer.transport.abort()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


async def failure(url: str, deadline_s: float = 5.0, **settings: Any) -> BackendError:
    async with backend_at(url, **settings) as backend:
        with pytest.raises(BackendError) as caught:
            await backend.generate(HELLO, SAMPLING, 1, time.monotonic() + deadline_s)
    return caught.value


def soon() -> float:
    return time.monotonic() + 5.0


async def test_a_conversation_is_sent_and_its_answer_read(upstream: Upstream) -> None:
    async with backend_at(upstream.url + "/") as backend:
        (generation,) = await backend.generate(
            (Message(Role.SYSTEM, (TextPart("be kind"),)), Message(Role.USER, (TextPart("a"), TextPart("b")), "bo")),
            SamplingParameters(max_tokens=9, temperature=0.5, top_p=0.8),
            1,
            soon(),
        )
    assert generation.parts == (TextPart("hi"),)
    assert generation.finish_reason is FinishReason.STOP
    assert (generation.prompt_tokens, generation.completion_tokens) == (5, 2)
    assert upstream.bodies == [
        {
            "model": "some-model",
            "messages": [
                {"role": "system", "content": "be kind"},
                {"role": "user", "content": "a\nb", "name": "bo"},
            ],
            "max_tokens": 9,
            "temperature": 0.5,
            "top_p": 0.8,
            "stream": False,
        }
    ]


async def test_sampling_is_sent_when_it_is_set(upstream: Upstream) -> None:
    async with backend_at(upstream.url) as backend:
        await backend.generate(HELLO, SamplingParameters(top_k=7, seed=3, stop=("END",)), 1, soon())
    body = upstream.bodies[0]
    assert (body["top_k"], body["seed"], body["stop"]) == (7, 3, ["END"])


async def test_several_responses_are_asked_for_at_once_with_seeds_of_their_own(upstream: Upstream) -> None:
    together = asyncio.Barrier(3)

    async def answer_when_all_are_there(request: web.Request) -> web.Response:
        await together.wait()
        return web.json_response(completion(str((await request.json())["seed"])))

    upstream.handler = answer_when_all_are_there
    async with backend_at(upstream.url) as backend:
        generations = await backend.generate(HELLO, SamplingParameters(seed=10), 3, soon())
    assert [generation.parts for generation in generations] == [(TextPart(str(seed)),) for seed in (10, 11, 12)]


async def test_one_failing_response_cancels_the_others(upstream: Upstream) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if len(upstream.bodies) < 3:
            return await hang(request)
        return web.Response(status=500)

    upstream.handler = answer
    async with backend_at(upstream.url) as backend:
        with pytest.raises(BackendError) as caught:
            await backend.generate(HELLO, SAMPLING, 3, soon())
        await asyncio.wait_for(upstream.left.wait(), 5)
    assert caught.value.kind == "server_error"


async def test_tool_calls_and_results_go_both_ways(upstream: Upstream) -> None:
    async def call_a_tool(request: web.Request) -> web.Response:
        call = {"id": "c2", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}
        return web.json_response(completion(None, "tool_calls", tool_calls=[call]))

    upstream.handler = call_a_tool
    conversation = (
        Message(Role.ASSISTANT, (TextPart("let me see"), ToolCall("c1", "look", "{}"))),
        Message(Role.TOOL, (ToolResult("c1", "rain"), ToolResult("c0", "sun"))),
        Message(Role.ASSISTANT, (ToolCall("c3", "look", "{}"),)),
    )
    async with backend_at(upstream.url) as backend:
        (generation,) = await backend.generate(conversation, SAMPLING, 1, soon())

    assert generation.parts == (ToolCall("c2", "look", '{"at": 1}'),)
    assert generation.finish_reason is FinishReason.STOP

    def sent(call_id: str) -> list[dict[str, Any]]:
        return [{"id": call_id, "type": "function", "function": {"name": "look", "arguments": "{}"}}]

    assert upstream.bodies[0]["messages"] == [
        {"role": "assistant", "content": "let me see", "tool_calls": sent("c1")},
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
        {"role": "tool", "tool_call_id": "c0", "content": "sun"},
        {"role": "assistant", "content": None, "tool_calls": sent("c3")},
    ]


@pytest.mark.parametrize(
    "message",
    [Message(Role.USER, (ToolCall("c1", "look", SECRET),)), Message(Role.TOOL, (TextPart(SECRET),))],
)
async def test_what_the_format_cannot_say_is_refused(upstream: Upstream, message: Message) -> None:
    async with backend_at(upstream.url) as backend:
        with pytest.raises(InvalidInput) as caught:
            await backend.generate((*HELLO, message), SAMPLING, 1, soon())
    assert caught.value.violations[0].field == "messages[1]"
    assert SECRET not in str(caught.value)
    assert upstream.bodies == []


@pytest.mark.parametrize(
    ("reply", "text", "finish"),
    [
        (completion("cut", "length"), "cut", FinishReason.LENGTH),
        (completion("so f", "content_filter"), "so f", FinishReason.CONTENT_FILTER),
        (completion(None, "content_filter"), "", FinishReason.CONTENT_FILTER),
        (completion(None, "stop", refusal="I will not"), "I will not", FinishReason.STOP),
        (completion("", "stop"), "", FinishReason.STOP),
        (completion("hi", "stop", reasoning_content="hidden"), "hi", FinishReason.STOP),
    ],
)
async def test_every_way_to_finish_is_told(
    upstream: Upstream, reply: dict[str, Any], text: str, finish: FinishReason
) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response(reply)

    upstream.handler = answer
    async with backend_at(upstream.url) as backend:
        (generation,) = await backend.generate(HELLO, SAMPLING, 1, soon())
    assert generation.parts == (TextPart(text),)
    assert generation.finish_reason is finish


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (302, "bad_reply"),
        (204, "bad_reply"),
        (400, "bad_request"),
        (401, "unauthorized"),
        (403, "unauthorized"),
        (404, "bad_request"),
        (408, "timeout"),
        (422, "bad_request"),
        (429, "rate_limited"),
        (500, "server_error"),
        (503, "server_error"),
        (504, "timeout"),
    ],
)
async def test_every_status_has_its_kind(upstream: Upstream, status: int, kind: str, caplog: Any) -> None:
    async def answer(request: web.Request) -> web.Response:
        if status == 204:
            return web.Response(status=204)
        return web.json_response({"error": {"message": SECRET}}, status=status, headers={"Location": "/v1/models"})

    upstream.handler = answer
    caplog.set_level(logging.DEBUG)
    error = await failure(upstream.url)
    assert error.kind == kind
    assert SECRET not in f"{error!r} {caplog.text}"
    assert error.__cause__ is None
    assert upstream.health_checks == 0  # the redirect was not followed


@pytest.mark.parametrize(
    ("value", "least_s", "most_s"),
    [
        ("7", 7, 7),
        ("100000", 300, 300),
        ("soon", 1, 1),
        ("²", 1, 1),
        ("a date a minute from now", 20, 60),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0),
        ("Wed, 21 Oct 2015 07:28:00 -0000", 1, 1),
    ],
)
async def test_when_to_try_again_is_passed_on(upstream: Upstream, value: str, least_s: float, most_s: float) -> None:
    if value == "a date a minute from now":  # now is when the test runs, not when it is collected
        value = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": value})

    upstream.handler = answer
    error = await failure(upstream.url)
    assert least_s <= error.retry_after_s <= most_s


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (400, "context_length_exceeded", InvalidInput),
        (400, "other", BackendError),
        (400, None, BackendError),
        (413, None, InvalidInput),
    ],
)
async def test_a_prompt_that_does_not_fit_is_the_callers_matter(
    upstream: Upstream, status: int, code: str | None, error: type[Exception]
) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"error": {"message": SECRET, "code": code}}, status=status)

    upstream.handler = answer
    async with backend_at(upstream.url) as backend:
        with pytest.raises(error) as caught:
            await backend.generate(HELLO, SAMPLING, 1, soon())
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        SECRET.encode(),
        b"[]",
        b"{}",
        b'{"choices": []}',
        b"[" * 100_000,
        json.dumps(completion(None)).encode(),
        json.dumps(completion("hi", None)).encode(),
        json.dumps(completion("hi", SECRET)).encode(),
        json.dumps({**completion(), "usage": {"prompt_tokens": -1, "completion_tokens": 1}}).encode(),
        json.dumps(completion(None, "tool_calls", tool_calls=[{"id": "1"}])).encode(),
    ],
)
async def test_what_is_not_a_completion_is_a_bad_reply(upstream: Upstream, body: bytes, caplog: Any) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    upstream.handler = answer
    caplog.set_level(logging.DEBUG)
    error = await failure(upstream.url)
    assert error.kind == "bad_reply"
    assert SECRET not in f"{error!r} {caplog.text}"
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None


async def test_another_content_type_is_a_bad_reply(upstream: Upstream) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=json.dumps(completion()), content_type="text/html")

    upstream.handler = answer
    assert (await failure(upstream.url)).kind == "bad_reply"


async def test_a_huge_body_is_not_read_to_its_end(upstream: Upstream) -> None:
    sent = 0

    async def pour(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        try:
            while sent < 1 << 30:
                await response.write(b" " * 65536)
                sent += 65536
        except ConnectionError:
            upstream.left.set()
        return response

    upstream.handler = pour
    error = await failure(upstream.url, max_response_bytes=100_000)
    assert error.kind == "bad_reply"
    await asyncio.wait_for(upstream.left.wait(), 5)
    assert sent < 100_000_000


async def test_a_compressed_bomb_is_not_unpacked(upstream: Upstream) -> None:
    async def bomb(request: web.Request) -> web.Response:
        response = web.json_response({**completion(), "padding": " " * 10_000_000})
        response.enable_compression(web.ContentCoding.gzip)
        return response

    upstream.handler = bomb
    assert (await failure(upstream.url, max_response_bytes=100_000)).kind == "bad_reply"


async def hang(request: web.Request) -> web.StreamResponse:
    await asyncio.get_running_loop().create_future()
    raise AssertionError("never")


async def trickle(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("handler", [hang, trickle])
async def test_the_callers_deadline_ends_the_call_and_the_work_upstream(upstream: Upstream, handler: Handler) -> None:
    upstream.handler = handler
    began = time.monotonic()
    async with backend_at(upstream.url) as backend:
        with pytest.raises(DeadlineExceeded):
            await backend.generate(HELLO, SAMPLING, 1, began + 0.3)
        assert 0.29 <= time.monotonic() - began < 4.0
        await asyncio.wait_for(upstream.left.wait(), 5)


@pytest.mark.parametrize("handler", [hang, trickle])
async def test_an_upstream_that_takes_too_long_is_a_timeout(upstream: Upstream, handler: Handler) -> None:
    upstream.handler = handler
    assert (await failure(upstream.url, timeout_s=0.2)).kind == "timeout"
    await asyncio.wait_for(upstream.left.wait(), 5)


async def test_a_deadline_that_is_over_asks_nobody(upstream: Upstream) -> None:
    async with backend_at(upstream.url) as backend:
        with pytest.raises(DeadlineExceeded):
            await backend.generate(HELLO, SAMPLING, 1, time.monotonic() - 1)
    assert upstream.bodies == []


async def test_a_caller_who_leaves_stops_the_work_upstream(upstream: Upstream) -> None:
    upstream.handler = hang
    async with backend_at(upstream.url) as backend:
        call = asyncio.create_task(backend.generate(HELLO, SAMPLING, 1, soon()))
        await asyncio.wait_for(upstream.arrived.wait(), 5)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.wait_for(upstream.left.wait(), 5)


async def test_one_caller_leaving_does_not_hurt_the_others(upstream: Upstream) -> None:
    go = asyncio.Event()

    async def when_told(request: web.Request) -> web.Response:
        await go.wait()
        return web.json_response(completion())

    upstream.handler = when_told
    async with backend_at(upstream.url) as backend:
        leaving, staying = (asyncio.create_task(backend.generate(HELLO, SAMPLING, 1, soon())) for _ in range(2))
        await asyncio.wait_for(upstream.arrived.wait(), 5)
        leaving.cancel()
        await asyncio.wait([leaving])
        go.set()
        assert (await staying)[0].parts == (TextPart("hi"),)


@pytest.mark.parametrize(
    ("reply", "reset", "kind"),
    [
        (b"", False, "unreachable"),
        (b"", True, "unreachable"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{", False, "unreachable"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{", True, "unreachable"),
        (SECRET.encode() + b"\r\n\r\n", False, "bad_reply"),
    ],
)
async def test_a_broken_connection_has_its_kind(reply: bytes, reset: bool, kind: str, caplog: Any) -> None:
    caplog.set_level(logging.DEBUG)
    async with raw_server(reply, reset=reset) as url:
        error = await failure(url)
    assert error.kind == kind
    assert SECRET not in f"{error!r} {caplog.text}"


async def test_nobody_there_is_unreachable() -> None:
    assert (await failure("http://127.0.0.1:1/v1")).kind == "unreachable"


async def test_an_upstream_that_is_gone_is_not_asked_for_a_while() -> None:
    breaker = CircuitBreaker(outcome_of, failures=2, open_s=60.0)
    async with backend_at("http://127.0.0.1:1/v1", breaker=breaker) as backend:
        for _ in range(2):
            with pytest.raises(BackendError):
                await backend.generate(HELLO, SAMPLING, 2, soon())
        with pytest.raises(BackendError) as caught:
            await backend.generate(HELLO, SAMPLING, 1, soon())
        assert await backend.healthy() is False
    assert caught.value.kind == "unreachable"
    assert 50 < caught.value.retry_after_s <= 60


async def test_an_upstream_that_answers_with_errors_is_still_asked(upstream: Upstream) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=500)

    upstream.handler = answer
    async with backend_at(upstream.url, breaker=CircuitBreaker(outcome_of, failures=1)) as backend:
        for _ in range(3):
            with pytest.raises(BackendError) as caught:
                await backend.generate(HELLO, SAMPLING, 1, soon())
            assert caught.value.kind == "server_error"
    assert len(upstream.bodies) == 3


async def test_the_key_is_sent_and_read_again_when_it_changes(upstream: Upstream, tmp_path: Path, caplog: Any) -> None:
    caplog.set_level(logging.DEBUG)
    key = tmp_path / "key"
    key.write_text("first-key\n")
    async with backend_at(upstream.url, api_key_file=key, headers={"X-Team": "a"}) as backend:
        await backend.generate(HELLO, SAMPLING, 1, soon())
        key.write_text("second-key")
        os.utime(key, ns=(1, 1))
        await backend.generate(HELLO, SAMPLING, 1, soon())
        key.unlink()
        await backend.generate(HELLO, SAMPLING, 1, soon())
        shown = repr(backend) + caplog.text
    sent = [headers["Authorization"] for headers in upstream.headers]
    assert sent == ["Bearer first-key", "Bearer second-key", "Bearer second-key"]
    assert upstream.headers[0]["X-Team"] == "a"
    assert "-key" not in shown


@pytest.mark.parametrize("content", [None, "", "two words", "naïve"])
async def test_without_a_key_it_does_not_start(tmp_path: Path, content: str | None) -> None:
    key = tmp_path / "key"
    if content is not None:
        key.write_text(content)
    with pytest.raises(ConfigError, match="no API key in"):
        await OpenAIBackend("http://127.0.0.1:1/v1", "m", api_key_file=key).start()


@pytest.mark.parametrize(
    "url", ["ftp://host/v1", "host:80", "http://", "http://key@host/v1", "http://host/v1?key=1", "http://host:x/v1"]
)
def test_addresses_that_cannot_be_meant_are_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="base_url") as caught:
        OpenAIBackend(url, "m")
    assert "key=" not in str(caught.value)
    assert "key@" not in str(caught.value)


async def test_ca_certificates_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no CA certificates"):
        await OpenAIBackend("https://127.0.0.1:1/v1", "m", ca_file=tmp_path / "none.pem").start()


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (404, True), (401, False), (500, False)])
async def test_health_follows_the_upstream(upstream: Upstream, status: int, healthy: bool) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status)

    upstream.models = answer
    async with backend_at(upstream.url) as backend:
        assert await backend.healthy() is healthy


async def test_many_who_ask_for_health_make_one_request(upstream: Upstream) -> None:
    async with backend_at(upstream.url) as backend:
        assert await asyncio.gather(*(backend.healthy() for _ in range(20))) == [True] * 20
    assert upstream.health_checks == 1


async def test_what_is_not_started_or_stopped_is_not_healthy_and_says_so(upstream: Upstream) -> None:
    backend = OpenAIBackend(upstream.url, "m")
    assert await backend.healthy() is False
    await backend.start()
    await backend.stop()
    await backend.stop()
    with pytest.raises(BackendError) as caught:
        await backend.generate(HELLO, SAMPLING, 1, soon())
    assert caught.value.kind == "unreachable"
