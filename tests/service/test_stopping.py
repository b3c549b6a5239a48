"""How the gRPC server ends, and how long it keeps a connection."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from service.config import GrpcSettings
from tests.fakes import FakeBackend, FakeScorer, Running, ask, running_server, write_policy
from tests.names import name_server
from tests.waiting import until
from wardgate import AsyncClient, Client

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"  # and empty settings
PING = struct.pack("!I", 8 << 8 | 6) + b"\0" * 5 + b"whistler"
GOAWAY = 7


class Watcher:
    """What a caller of Watch is told, and how that ends."""

    def __init__(self, server: Running, name: str = "") -> None:
        self._call = health_pb2_grpc.HealthStub(server.channel).Watch(health_pb2.HealthCheckRequest(service=name))
        self._task = asyncio.create_task(self._listen())
        self.told: list[int] = []
        self.code: grpc.StatusCode | None = None

    async def _listen(self) -> None:
        try:
            async for reply in self._call:
                self.told.append(reply.status)
        except grpc.aio.AioRpcError as error:
            self.code = error.code()

    async def leave(self) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})

    async def end(self) -> None:
        await asyncio.wait_for(self._task, 10)


async def health(server: Running, name: str = "") -> int:
    stub = health_pb2_grpc.HealthStub(server.channel)
    return int((await stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=10)).status)


async def test_every_watcher_of_health_hears_each_change_also_after_another_has_left(tmp_path: Path) -> None:
    write_policy(tmp_path)
    async with running_server(tmp_path) as server:
        leaving, staying, unknown = Watcher(server), Watcher(server), Watcher(server, "nothing")
        await until(lambda: leaving.told == staying.told == [SERVING])
        await leaving.leave()
        server.server.set_health({"": False})
        await until(lambda: staying.told == [SERVING, NOT_SERVING])
        server.server.set_health({"": True})
        await until(lambda: staying.told == [SERVING, NOT_SERVING, SERVING])
        assert unknown.told == [health_pb2.HealthCheckResponse.SERVICE_UNKNOWN]


async def test_a_watcher_of_health_hears_the_end_and_does_not_hold_it_up(tmp_path: Path) -> None:
    write_policy(tmp_path)
    async with running_server(tmp_path, grpc_settings=GrpcSettings(port=0, drain_s=60)) as server:
        watcher = Watcher(server)
        await until(lambda: watcher.told == [SERVING])
        await asyncio.wait_for(server.server.stop(), 10)
        await watcher.end()
    assert (watcher.told, watcher.code) == ([SERVING, NOT_SERVING], grpc.StatusCode.UNAVAILABLE)


async def test_a_retiring_server_says_so_and_serves_on_for_its_delay(tmp_path: Path) -> None:
    write_policy(tmp_path)
    async with running_server(tmp_path, grpc_settings=GrpcSettings(port=0, drain_s=1, shutdown_delay_s=0.5)) as server:
        started = time.monotonic()
        retiring = asyncio.create_task(server.server.retire())
        await until(lambda: server.server.retired)
        assert await health(server, "wardgate.v1.GuardrailService") == NOT_SERVING
        server.server.set_health({"": True})  # what is retired stays so
        assert await health(server) == NOT_SERVING
        await server.check(ask("hello"))
        assert not retiring.done()
        await retiring
        assert time.monotonic() - started >= 0.5
        await server.check(ask("hello"))


async def test_calls_that_arrive_while_the_server_is_busy_are_answered_though_it_stops_next(tmp_path: Path) -> None:
    write_policy(tmp_path)
    callers = 32
    async with running_server(tmp_path, grpc_settings=GrpcSettings(port=0, drain_s=20)) as server:
        await server.check(ask("hello"))
        with ThreadPoolExecutor(callers) as pool, Client(server.address) as client:
            sending = threading.Barrier(callers + 1)

            def call() -> int:
                sending.wait()
                return int(client.check("hello").decision.action)

            calls = [pool.submit(call) for _ in range(callers)]
            sending.wait()
            time.sleep(0.5)  # noqa: ASYNC251 - the event loop is busy, and every call has arrived
            await server.server.stop()
            assert len({(await asyncio.wrap_future(one)) for one in calls}) == 1


async def test_what_is_in_flight_is_answered_and_newcomers_are_unavailable(tmp_path: Path) -> None:
    write_policy(tmp_path)
    free = asyncio.Event()
    scorer = FakeScorer(before=lambda _: free.wait())
    backend = FakeBackend()
    async with running_server(tmp_path, scorer, backend, GrpcSettings(port=0, drain_s=20)) as server:
        calls = [asyncio.ensure_future(server.check(ask("hello"))) for _ in range(20)]
        await until(lambda: server.admission.in_flight == 20)
        stopping = asyncio.create_task(server.server.stop())
        await until(lambda: not listening(server.server.port))
        async with grpc.aio.insecure_channel(server.address) as late:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await late.unary_unary("/wardgate.v1.GuardrailService/Check")(b"", timeout=10)
        assert not stopping.done()
        free.set()
        await asyncio.gather(*calls)
        await stopping
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_what_is_not_done_within_the_drain_is_unavailable(tmp_path: Path) -> None:
    write_policy(tmp_path)
    scorer = FakeScorer(before=lambda _: asyncio.Event().wait())
    async with running_server(tmp_path, scorer, grpc_settings=GrpcSettings(port=0, drain_s=0.5)) as server:
        call = asyncio.ensure_future(server.check(ask("hello")))
        await until(lambda: server.admission.in_flight == 1)
        started = time.monotonic()
        await server.server.stop()
        assert 0.5 <= time.monotonic() - started < 5
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await call
    assert ended.value.code() is grpc.StatusCode.UNAVAILABLE


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def test_a_client_moves_on_to_a_new_replica_when_its_connection_is_old_and_no_call_fails(tmp_path: Path) -> None:
    write_policy(tmp_path)
    aged = GrpcSettings(host="127.0.0.2", port=0, max_connection_age_s=0.5)
    async with running_server(tmp_path, grpc_settings=aged) as old, name_server() as names:
        other = GrpcSettings(host="127.0.0.3", port=old.server.port)
        async with running_server(tmp_path, grpc_settings=other) as new:
            names.addresses = [aged.host]
            async with AsyncClient(names.target(old.server.port)) as client:
                await client.check("hello")
                names.addresses = [other.host]
                async with asyncio.timeout(20):
                    while not answered(new):
                        await client.check("hello")
                assert answered(old) > 1


def answered(server: Running) -> float:
    service = "wardgate.v1.GuardrailService"
    return server.metric("grpc_server_handled_total", grpc_service=service, grpc_method="Check", grpc_code="OK")


async def test_who_pings_all_the_time_is_sent_away(tmp_path: Path) -> None:
    write_policy(tmp_path)
    async with running_server(tmp_path) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.server.port)
        writer.write(PREFACE + PING * 5)
        async with asyncio.timeout(10):
            kind, said = 0, b""
            while kind != GOAWAY:
                head = await reader.readexactly(9)
                kind, said = head[3], await reader.readexactly(int.from_bytes(head[:3], "big"))
        writer.close()
    assert b"too_many_pings" in said


@pytest.mark.nightly
async def test_who_connects_and_says_nothing_is_hung_up_on(tmp_path: Path) -> None:
    write_policy(tmp_path)
    async with running_server(tmp_path) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.server.port)
        async with asyncio.timeout(15):
            while await reader.read(1024):  # the server's own settings, then the end
                pass
        writer.close()
