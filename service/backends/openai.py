"""The wrapped model behind an OpenAI-compatible server: OpenAI, vLLM, TGI, llama.cpp, `transformers serve`.

Each response is a request of its own, because not every server takes `n`. Nothing of an upstream's body reaches
a log or an error.

| BackendError kind | when |
|---|---|
| unreachable | no connection, or it broke before the reply was whole; the circuit is open |
| timeout | no whole reply within `timeout_s`, or status 408 or 504 |
| rate_limited | status 429; Retry-After is passed on |
| unauthorized | status 401 or 403 |
| bad_request | any other 4xx |
| server_error | any other 5xx |
| bad_reply | a redirect, another content type, too large, not a chat completion |
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from guards.errors import BackendError, ConfigError, DeadlineExceeded, InvalidInput
from guards.types import Message
from service.backends.base import Generation, SamplingParameters
from service.backends.breaker import CircuitBreaker, CircuitOpen, Outcome
from service.backends.openai_format import generation_of, request_of, says_prompt_too_long

log = logging.getLogger(__name__)

_CHUNK_BYTES = 64 * 1024
_MAX_FAULT_BYTES = 64 * 1024
_MAX_RETRY_AFTER_S = 300.0
_HEALTH_TIMEOUT_S = 2.0
_HEALTH_CACHE_S = 3.0
_CONNECT_TIMEOUT_S = 5.0
_KEEPALIVE_S = 4.0  # uvicorn closes idle connections after 5 s; a request must not meet that


class KeyFile:
    """A bearer token in a file, read again when the file changes; a secret is rotated that way."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._key = ""

    def read(self) -> str:
        """The key. Raises ConfigError when there has never been one."""
        try:
            status = self._path.stat()
            seen = (status.st_mtime_ns, status.st_ino)
            if seen != self._seen:
                self._key = _checked_key(self._path.read_text(encoding="ascii").strip())
                self._seen = seen
        except (OSError, ValueError) as error:
            if not self._key:
                raise ConfigError(f"no API key in {self._path}: {type(error).__name__}") from None
            log.warning("API key file cannot be read, the key before stays", extra={"error_type": type(error).__name__})
        return self._key


class OpenAIBackend:
    """`base_url` goes up to and with /v1. `timeout_s` is for one response, `max_response_bytes` for its JSON.

    `start` does not wait for the upstream: `healthy` says whether it is there.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        name: str = "",
        api_key_file: Path | None = None,
        timeout_s: float = 60.0,
        max_connections: int = 64,
        max_response_bytes: int = 4 << 20,
        headers: Mapping[str, str] | None = None,
        ca_file: Path | None = None,
        breaker: CircuitBreaker | None = None,
    ) -> None:
        self.name = name or model
        self._model = model
        self._base_url = _checked_url(base_url)
        self._key_file = None if api_key_file is None else KeyFile(api_key_file)
        self._timeout_s = timeout_s
        self._max_connections = max_connections
        self._max_response_bytes = max_response_bytes
        self._headers = dict(headers or {})
        self._ca_file = ca_file
        self._breaker = breaker or CircuitBreaker(outcome_of)
        self._session: aiohttp.ClientSession | None = None
        self._health = False
        self._health_until = 0.0
        self._health_lock = asyncio.Lock()

    async def start(self) -> None:
        """Reads the key and the certificates. Raises ConfigError when they are not there."""
        if self._key_file is not None:
            self._key_file.read()
        connector = aiohttp.TCPConnector(
            limit=self._max_connections,
            ssl=await asyncio.to_thread(self._trust),
            keepalive_timeout=_KEEPALIVE_S,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT_S),
            auto_decompress=False,  # a few bytes may decompress to more than memory
            trust_env=False,
        )

    async def generate(
        self, messages: Sequence[Message], sampling: SamplingParameters, n: int, deadline: float
    ) -> tuple[Generation, ...]:
        requests = [request_of(self._model, messages, _seeded(sampling, index)) for index in range(n)]
        try:
            with self._breaker.call():
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(self._complete(json.dumps(r).encode(), deadline)) for r in requests]
        except CircuitOpen as refusal:
            raise BackendError("the wrapped model does not answer", "unreachable", refusal.retry_after_s) from None
        except ExceptionGroup as failures:
            raise _first(failures) from None
        return tuple(task.result() for task in tasks)

    async def healthy(self) -> bool:
        if self._session is None or self._breaker.is_open:
            return False
        async with self._health_lock:
            if time.monotonic() >= self._health_until:
                self._health = await self._answers()
                self._health_until = time.monotonic() + _HEALTH_CACHE_S
            return self._health

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _complete(self, body: bytes, deadline: float) -> Generation:
        remaining_s = deadline - time.monotonic()
        if remaining_s <= 0:
            raise DeadlineExceeded("no time is left to ask the wrapped model")
        try:
            async with asyncio.timeout(min(remaining_s, self._timeout_s)):
                return generation_of(await self._post(body))
        except TimeoutError:
            if remaining_s <= self._timeout_s:
                raise DeadlineExceeded("time ran out while the wrapped model was writing") from None
            raise BackendError(f"the wrapped model took over {self._timeout_s:g} s", "timeout") from None

    async def _post(self, body: bytes) -> bytes:
        headers = {"Content-Type": "application/json"}
        async with self._answer("POST", "chat/completions", headers, body) as response:
            if response.status != 200:
                raise await _refusal(response)
            if response.content_type != "application/json":
                raise BackendError("the wrapped model's reply is not JSON", "bad_reply")
            return await _read(response, self._max_response_bytes)

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(_HEALTH_TIMEOUT_S), self._answer("GET", "models", {}, None) as response:
                # Some servers list no models, but who says so can be reached.
                return response.status in (200, 404, 405)
        except (TimeoutError, BackendError, ConfigError):
            return False

    @asynccontextmanager
    async def _answer(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The response, its body not read. Whatever breaks until the block ends is a BackendError."""
        if self._session is None:
            raise BackendError("the wrapped model's client is not started", "unreachable")
        sent = {"Accept": "application/json", "Accept-Encoding": "identity", **self._headers, **headers}
        if self._key_file is not None:
            sent["Authorization"] = f"Bearer {self._key_file.read()}"
        try:
            async with self._session.request(
                method, f"{self._base_url}/{path}", headers=sent, data=body, allow_redirects=False
            ) as response:
                yield response
        # Without their causes: some quote the body, some the headers with the key.
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
            raise BackendError(f"the wrapped model is unreachable: {type(error).__name__}", "unreachable") from None
        except aiohttp.ClientError as error:
            raise BackendError(f"the wrapped model does not speak HTTP: {type(error).__name__}", "bad_reply") from None

    def _trust(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self._ca_file)
        except OSError as error:
            raise ConfigError(f"no CA certificates in {self._ca_file}: {type(error).__name__}") from error


def outcome_of(error: BaseException) -> Outcome:
    """What an error of a call says about the upstream, for its circuit breaker."""
    match error:
        case ExceptionGroup():
            return outcome_of(_first(error))
        case BackendError(kind="unreachable" | "timeout"):
            return Outcome.FAILED
        case BackendError() | InvalidInput():
            return Outcome.ANSWERED
        case _:
            return Outcome.UNKNOWN


def _first(failures: ExceptionGroup[Exception]) -> Exception:
    """The failure that cancelled the other requests."""
    error = failures.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error


def _seeded(sampling: SamplingParameters, index: int) -> SamplingParameters:
    return sampling if sampling.seed is None else replace(sampling, seed=sampling.seed + index)


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        body += chunk
        if len(body) > limit:
            response.close()
            raise BackendError(f"the wrapped model's reply is over {limit} bytes", "bad_reply")
    return bytes(body)


async def _refusal(response: aiohttp.ClientResponse) -> Exception:
    """The error for a status other than 200."""
    status = response.status
    said = f"the wrapped model's server answered with status {status}"
    if status == 413 or (status == 400 and await _blames_length(response)):
        return InvalidInput("the prompt does not fit the wrapped model")
    retry_after_s = _retry_after_s(response.headers.get("Retry-After", ""))
    match status:
        case 429:
            return BackendError(said, "rate_limited", retry_after_s)
        case 408 | 504:
            return BackendError(said, "timeout", retry_after_s)
        case 401 | 403:
            return BackendError(said, "unauthorized")
        case _ if 400 <= status < 500:
            return BackendError(said, "bad_request")
        case _ if status >= 500:
            return BackendError(said, "server_error", retry_after_s)
        case _:
            return BackendError(said, "bad_reply")


async def _blames_length(response: aiohttp.ClientResponse) -> bool:
    try:
        return says_prompt_too_long(await _read(response, _MAX_FAULT_BYTES))
    except BackendError:
        return False


def _retry_after_s(value: str) -> float:
    """Seconds or an HTTP date, as RFC 9110 10.2.3 has it; 1 when missing or wrong."""
    try:
        seconds = (
            float(value) if value.isdecimal() else (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        )
    except (ValueError, TypeError):
        return 1.0
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER_S)


def _checked_url(base_url: str) -> str:
    try:
        parts = urlsplit(base_url)
        wrong = parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0
    except ValueError:
        wrong = True
    if wrong:
        raise ConfigError("the backend's base_url is not an http or https address")
    if parts.username is not None or parts.query or parts.fragment:
        raise ConfigError("the backend's base_url has a user, query or fragment; keys belong into api_key_file")
    return base_url.rstrip("/")


def _checked_key(key: str) -> str:
    if not key or not key.isprintable() or " " in key:
        raise ValueError("not a key")
    return key
