"""The client, blocking and asyncio. Both make the calls of `calls.py` and only carry them out differently."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import grpc
import grpc.aio

from wardgate import calls, probes, reward_models
from wardgate.calls import Call, StreamCall
from wardgate.channel import TLS, Endpoint, Token
from wardgate.errors import WardgateError

P = ParamSpec("P")
Result = TypeVar("Result")
Method = TypeVar("Method", bound=Callable[..., Any])


class _BaseClient:
    """What both clients are told.

    `target` is "host:port" or any gRPC target; every address behind it is used in turn. `token` is the bearer token
    or a function that gives the current one. `timeout` and `generate_timeout` are the seconds a call may take, tries
    included, unless the call says otherwise. `insecure_token` lets the token go over plain text to other machines.
    """

    def __init__(
        self,
        target: str,
        *,
        tls: TLS | None = None,
        token: Token | None = None,
        insecure_token: bool = False,
        timeout: float = 10.0,
        generate_timeout: float = 60.0,
        max_message_bytes: int = 4 * 1024 * 1024,
    ) -> None:
        if min(timeout, generate_timeout) <= 0:
            raise ValueError("a timeout is over 0 seconds")
        self._endpoint = Endpoint(target, tls, token, insecure_token, max_message_bytes)
        self._timeout = timeout
        self._generate_timeout = generate_timeout
        self._open()

    def _open(self) -> None:
        """Prepares the channel, where that needs no event loop."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._endpoint.target!r}, tls={self._endpoint.tls is not None})"

    def _timeout_of(self, call: Call[Any]) -> float:
        if call.timeout is not None:
            return call.timeout
        return self._generate_timeout if call.generates else self._timeout


def _blocking(describe: Callable[P, Call[Result]]) -> Callable[Concatenate[Client, P], Result]:
    def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> Result:
        return self._make(describe(*args, **kwargs))

    return _dressed(method, describe)


def _awaitable(
    describe: Callable[P, Call[Result]],
) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, Result]]:
    async def method(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> Result:
        return await self._make(describe(*args, **kwargs))

    return _dressed(method, describe)


def _streaming(
    describe: Callable[P, StreamCall[Result]],
) -> Callable[Concatenate[Client, P], Iterator[Result]]:
    def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[Result]:
        return self._stream(describe(*args, **kwargs))

    return _dressed(method, describe)


def _async_streaming(
    describe: Callable[P, StreamCall[Result]],
) -> Callable[Concatenate[AsyncClient, P], AsyncIterator[Result]]:
    def method(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[Result]:
        return self._stream(describe(*args, **kwargs))

    return _dressed(method, describe)


def _dressed(method: Method, describe: Callable[..., Any]) -> Method:
    """`method` as help() should show it: with the name, text and parameters of `describe`."""
    functools.update_wrapper(method, describe)
    of_self = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    shown = inspect.signature(describe)
    parameters = [of_self, *shown.parameters.values()]
    signature = shown.replace(parameters=parameters, return_annotation=inspect.Signature.empty)
    method.__signature__ = signature  # type: ignore[attr-defined]
    return method


class Client(_BaseClient):
    """Calls Wardgate and waits. One is enough for a process: threads may share it. Close it, or use `with`."""

    check = _blocking(calls.check)
    batch_check = _blocking(calls.batch_check)
    generate = _blocking(calls.generate)
    explain = _blocking(calls.explain)
    healthy = _blocking(calls.healthy)
    list_reward_models = _blocking(reward_models.list_reward_models)
    get_reward_model = _blocking(reward_models.get_reward_model)
    set_rollout = _blocking(reward_models.set_rollout)
    roll_back = _blocking(reward_models.roll_back)
    list_probe_suites = _blocking(probes.list_probe_suites)
    start_probe_run = _blocking(probes.start_probe_run)
    get_probe_run = _blocking(probes.get_probe_run)
    list_probe_runs = _blocking(probes.list_probe_runs)
    pause_probe_run = _blocking(probes.pause_probe_run)
    resume_probe_run = _blocking(probes.resume_probe_run)
    cancel_probe_run = _blocking(probes.cancel_probe_run)
    watch_probe_run = _streaming(probes.watch_probe_run)

    def _open(self) -> None:
        credentials, options = self._endpoint.credentials(), self._endpoint.options()
        if credentials is None:
            self._channel = grpc.insecure_channel(self._endpoint.target, options)
        else:
            self._channel = grpc.secure_channel(self._endpoint.target, credentials, options)

    def _make(self, call: Call[Result]) -> Result:
        method = self._channel.unary_unary(call.path, call.request.__class__.SerializeToString, call.decode)
        try:
            result: Result = method(call.request, timeout=self._timeout_of(call), metadata=self._endpoint.metadata())
        except grpc.RpcError as error:
            return call.answer(error)
        return result

    def _stream(self, call: StreamCall[Result]) -> Iterator[Result]:
        method = self._channel.unary_stream(call.path, call.request.__class__.SerializeToString, call.decode)
        replies = method(call.request, timeout=call.timeout, metadata=self._endpoint.metadata())
        try:
            yield from replies
        except grpc.RpcError as error:
            raise WardgateError.from_rpc_error(error) from error
        finally:
            replies.cancel()  # for a caller that has heard enough

    def close(self) -> None:
        """Ends the connections; calls in flight fail. No call can be made afterwards."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncClient(_BaseClient):
    """Calls Wardgate under asyncio. It connects with its first call, and belongs to that call's event loop."""

    check = _awaitable(calls.check)
    batch_check = _awaitable(calls.batch_check)
    generate = _awaitable(calls.generate)
    explain = _awaitable(calls.explain)
    healthy = _awaitable(calls.healthy)
    list_reward_models = _awaitable(reward_models.list_reward_models)
    get_reward_model = _awaitable(reward_models.get_reward_model)
    set_rollout = _awaitable(reward_models.set_rollout)
    roll_back = _awaitable(reward_models.roll_back)
    list_probe_suites = _awaitable(probes.list_probe_suites)
    start_probe_run = _awaitable(probes.start_probe_run)
    get_probe_run = _awaitable(probes.get_probe_run)
    list_probe_runs = _awaitable(probes.list_probe_runs)
    pause_probe_run = _awaitable(probes.pause_probe_run)
    resume_probe_run = _awaitable(probes.resume_probe_run)
    cancel_probe_run = _awaitable(probes.cancel_probe_run)
    watch_probe_run = _async_streaming(probes.watch_probe_run)

    def _open(self) -> None:
        self._channel: grpc.aio.Channel | None = None  # made by the first call: it needs the running loop
        self._closed = False

    def _connected(self) -> grpc.aio.Channel:
        if self._closed:
            raise ValueError("this client is closed")
        if self._channel is None:
            credentials, options = self._endpoint.credentials(), self._endpoint.options()
            if credentials is None:
                self._channel = grpc.aio.insecure_channel(self._endpoint.target, options)
            else:
                self._channel = grpc.aio.secure_channel(self._endpoint.target, credentials, options)
        return self._channel

    async def _make(self, call: Call[Result]) -> Result:
        method = self._connected().unary_unary(call.path, call.request.__class__.SerializeToString, call.decode)
        try:
            timeout, metadata = self._timeout_of(call), self._endpoint.metadata()
            result: Result = await method(call.request, timeout=timeout, metadata=metadata)
        except grpc.RpcError as error:
            return call.answer(error)
        return result

    async def _stream(self, call: StreamCall[Result]) -> AsyncIterator[Result]:
        method = self._connected().unary_stream(call.path, call.request.__class__.SerializeToString, call.decode)
        replies = method(call.request, timeout=call.timeout, metadata=self._endpoint.metadata())
        try:
            async for reply in replies:
                yield reply
        except grpc.RpcError as error:
            raise WardgateError.from_rpc_error(error) from error
        finally:
            replies.cancel()  # for a caller that has heard enough

    async def close(self) -> None:
        """Ends the connections; calls in flight fail. No call can be made afterwards."""
        self._closed = True
        if self._channel is not None:
            await self._channel.close(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
