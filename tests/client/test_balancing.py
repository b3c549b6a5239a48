"""Several replicas behind one target, which come and go."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import grpc
import pytest

from tests.names import name_server
from tests.waiting import until, until_true
from wardgate import AsyncClient, WardgateError
from wardgate.v1 import guardrail_pb2, guardrail_pb2_grpc


class Replica(guardrail_pb2_grpc.GuardrailServiceServicer):
    """Says its name in `request_id`. `before` runs first and may wait or abort."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.before: Callable[[grpc.aio.ServicerContext], object] | None = None
        self.calls = 0
        self.server = grpc.aio.server()
        guardrail_pb2_grpc.add_GuardrailServiceServicer_to_server(self, self.server)  # type: ignore[no-untyped-call]

    async def start(self, port: int = 0) -> int:
        port = self.server.add_insecure_port(f"{self.name}:{port}")
        await self.server.start()
        return port

    async def Check(
        self, request: guardrail_pb2.CheckRequest, context: grpc.aio.ServicerContext
    ) -> guardrail_pb2.CheckResponse:
        self.calls += 1
        if self.before and asyncio.iscoroutine(waiting := self.before(context)):
            await waiting
        return guardrail_pb2.CheckResponse(request_id=self.name)


class Load:
    """Calls without a pause. `served` counts by replica."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._running = True
        self.served: Counter[str] = Counter()
        self.failed: list[str] = []

    async def run(self) -> None:
        while self._running:
            try:
                self.served[(await self._client.check("hello")).request_id] += 1
            except WardgateError as error:
                self.failed.append(str(error))
            await asyncio.sleep(0.001)

    def stop(self) -> None:
        self._running = False


@asynccontextmanager
async def load_on(target: str) -> AsyncIterator[Load]:
    async with AsyncClient(target) as client, asyncio.TaskGroup() as tasks:
        load = Load(client)
        for _ in range(8):
            tasks.create_task(load.run())
        try:
            yield load
        finally:
            load.stop()


@asynccontextmanager
async def running(*replicas: Replica) -> AsyncIterator[int]:
    """All on one port, each at the address that is its name."""
    port = 0
    try:
        for replica in replicas:
            port = await replica.start(port)
        yield port
    finally:
        for replica in replicas:
            await replica.server.stop(None)


async def test_calls_go_to_every_replica_in_turn() -> None:
    one, other = Replica("127.0.0.2"), Replica("127.0.0.3")
    async with running(one, other) as port, load_on(f"ipv4:127.0.0.2:{port},127.0.0.3:{port}") as load:
        await until(lambda: min(load.served[one.name], load.served[other.name]) >= 20)
    assert load.failed == []


async def test_no_call_fails_while_every_replica_is_replaced_at_a_new_address() -> None:
    first, second = ([Replica(f"127.0.0.{number}") for number in numbers] for numbers in ((2, 3, 4), (5, 6, 7)))
    async with running(*first) as port, name_server() as names, AsyncExitStack() as stack:
        names.addresses = [replica.name for replica in first]
        for replica in second:
            stack.push_async_callback(replica.server.stop, None)
        async with load_on(names.target(port)) as load:
            await until(lambda: all(load.served[name] for name in names.addresses))
            for leaves, comes in zip(first, second, strict=True):
                await comes.start(port)
                names.addresses = [*names.addresses[1:], comes.name]
                await leaves.server.stop(5)
                # Kubernetes goes on when the new one is ready; callers find it when they lose the old one.
                await until(lambda name=comes.name: load.served[name] > 0)  # type: ignore[misc]
    assert load.failed == []


async def test_a_replica_that_dies_with_hundreds_of_calls_in_flight_fails_none_of_them() -> None:
    dying, other = Replica("127.0.0.2"), Replica("127.0.0.3")
    async with (
        running(dying, other) as port,
        AsyncClient(f"ipv4:127.0.0.2:{port},127.0.0.3:{port}") as client,
        asyncio.TaskGroup() as tasks,
    ):

        async def both_are_connected() -> bool:
            await client.check("hello")
            return bool(dying.calls and other.calls)

        await until_true(both_are_connected)  # until then the one that is gets every call
        before = dying.calls
        dying.before = lambda _: asyncio.Event().wait()
        calls = [tasks.create_task(client.check("hello")) for _ in range(400)]
        await until(lambda: dying.calls >= before + 150)
        await dying.server.stop(0)
    assert {call.result().request_id for call in calls} == {other.name}


async def test_a_call_that_the_server_cancels_is_asked_again_and_one_that_the_caller_leaves_is_not() -> None:
    replica = Replica("127.0.0.2")
    aborted = iter((True, True))

    async def cancel_twice(context: grpc.aio.ServicerContext) -> None:
        if next(aborted, False):
            await context.abort(grpc.StatusCode.CANCELLED)

    replica.before = cancel_twice
    async with running(replica) as port, AsyncClient(f"127.0.0.2:{port}") as client:
        await client.check("hello")
        assert replica.calls == 3

        replica.before = lambda _: asyncio.Event().wait()
        left = asyncio.create_task(client.check("hello"))
        await until(lambda: replica.calls == 4)
        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            await left
        replica.before = None
        await client.check("hello")
    assert replica.calls == 5
