"""Real processes that are stopped, killed and started again while they are called."""

from __future__ import annotations

import asyncio
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from signal import SIGTERM
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bench.envoy import envoy, envoy_program
from bench.replicas import Replica, replicas
from bench.upstream import backend_settings, upstream
from guards.rewards.reward_model import RewardModel
from tests.waiting import until
from wardgate import AsyncClient, WardgateError
from wardgate.requests import check_request
from wardgate.v1.guardrail_pb2_grpc import GuardrailServiceStub

pytestmark = pytest.mark.models

IN_FLIGHT = 64
GENERATING = 40
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
TEXT = "Which of the two recipes is better for a winter evening with friends? " * 4


class Held:
    """What the wrapped model waits for. `asked` counts."""

    def __init__(self) -> None:
        self.free = asyncio.Event()
        self.asked = 0

    async def __call__(self) -> None:
        self.asked += 1
        await self.free.wait()


@contextmanager
def replica_at(folder: Path, **settings: Any) -> Iterator[Replica]:
    with replicas(folder, [settings]) as (one,):
        yield one


@asynccontextmanager
async def at_full_load(
    tmp_path: Path, held: Held, drain_s: float
) -> AsyncIterator[tuple[Replica, list[asyncio.Task[Any]]]]:
    """A replica with as many calls in flight as were asked for: what waits for the model, and what is scored."""
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(upstream(held))
        settings = {"grpc": {"drain_s": drain_s}, "backend": backend_settings(url)}
        replica = await asyncio.to_thread(stack.enter_context, replica_at(tmp_path, **settings))
        client = await stack.enter_async_context(AsyncClient(replica.address, timeout=100, generate_timeout=100))
        calls: list[asyncio.Task[Any]] = [asyncio.create_task(client.generate("Hello")) for _ in range(GENERATING)]
        await until(lambda: held.asked == GENERATING, within_s=60)
        calls += [asyncio.create_task(client.check(TEXT)) for _ in range(IN_FLIGHT - GENERATING)]
        await until(lambda: requests_begun(replica, "Check") > 0, within_s=60)
        yield replica, calls
        held.free.set()


async def stop_at_full_load(tmp_path: Path) -> None:
    held = Held()
    async with (
        at_full_load(tmp_path, held, 60) as (replica, calls),
        grpc.aio.insecure_channel(replica.address) as probe,
    ):
        watching = health_pb2_grpc.HealthStub(probe).Watch(health_pb2.HealthCheckRequest())
        await watching.read()
        since = time.monotonic()
        replica.tell(SIGTERM)
        assert (await watching.read()).status == NOT_SERVING
        assert time.monotonic() - since < 5  # some 40 ms on a quiet machine
        assert status(replica, "readyz") == 503
        await until(lambda: '"stopping"' in replica.log)
        async with AsyncClient(replica.address) as newcomer:
            assert await refusal_of(newcomer) is grpc.StatusCode.UNAVAILABLE
        held.free.set()
        answered = await asyncio.gather(*calls)
        ended = await asyncio.to_thread(replica.ended, since, 60)
    assert len(answered) == IN_FLIGHT
    assert (ended.code, "Traceback" in replica.log) == (0, False)


async def refusal_of(client: AsyncClient) -> grpc.StatusCode:
    """Once the port is closed; until then a newcomer is served."""
    while True:
        try:
            await client.check("hello")
        except WardgateError as error:
            return error.code


async def test_sigterm_loses_nothing_of_sixty_four_calls_in_flight(reward_model: RewardModel, tmp_path: Path) -> None:
    await stop_at_full_load(tmp_path)


@pytest.mark.nightly
@pytest.mark.parametrize("run", range(20))
async def test_sigterm_never_loses_anything(reward_model: RewardModel, tmp_path: Path, run: int) -> None:
    await stop_at_full_load(tmp_path)


async def test_a_model_that_never_answers_does_not_keep_the_process(reward_model: RewardModel, tmp_path: Path) -> None:
    async with at_full_load(tmp_path, Held(), 1) as (replica, calls):
        ended = await asyncio.to_thread(replica.stop)
        said = await asyncio.gather(*calls, return_exceptions=True)
    assert ended.code == 0
    assert ended.seconds < 10  # 1 s and less than another on a quiet machine
    codes = {error.code for error in said if isinstance(error, WardgateError)}
    assert codes == {grpc.StatusCode.UNAVAILABLE}
    assert "Traceback" not in replica.log


class Load:
    """Calls without end; what fails is kept."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._tasks: list[asyncio.Task[None]] = []
        self.answered = 0
        self.failed: list[str] = []

    async def __aenter__(self) -> Load:
        self._tasks = [asyncio.create_task(self._run()) for _ in range(8)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    async def _run(self) -> None:
        while True:
            try:
                await self._client.check("hello")
                self.answered += 1
            except (WardgateError, grpc.aio.AioRpcError) as error:
                self.failed.append(str(error))
            await asyncio.sleep(0.05)


async def test_no_call_fails_while_replicas_are_restarted_and_killed_behind_the_client(
    reward_model: RewardModel, tmp_path: Path
) -> None:
    with replicas(tmp_path, [{}, {}]) as (one, other):
        async with AsyncClient(f"ipv4:{one.address},{other.address}", timeout=60) as client, Load(client) as load:
            await until(lambda: load.answered > 20, within_s=60)
            ended = await asyncio.to_thread(one.stop)
            await comes_back(one)
            await asyncio.to_thread(other.kill)
            await comes_back(other)
    assert ended.code == 0
    assert load.failed == []


@pytest.mark.nightly
@pytest.mark.skipif(envoy_program() is None, reason="`make envoy` fetches Envoy")
async def test_no_call_fails_while_replicas_are_restarted_behind_envoy(
    reward_model: RewardModel, tmp_path: Path
) -> None:
    program = envoy_program()
    assert program is not None
    with replicas(tmp_path, [{}, {}]) as every, envoy(program, [one.address for one in every], tmp_path) as address:
        async with grpc.aio.insecure_channel(address, [("grpc.enable_retries", 0)]) as channel:
            stub = GuardrailServiceStub(channel)  # type: ignore[no-untyped-call]
            async with Load(PlainClient(stub)) as load:  # type: ignore[arg-type]
                for replica in every:
                    assert (await asyncio.to_thread(replica.stop)).code == 0
                    await comes_back(replica)
    assert load.failed == []
    assert load.answered > 0


class PlainClient:
    """As any gRPC library calls that knows nothing of retries."""

    def __init__(self, stub: GuardrailServiceStub) -> None:
        self._stub = stub

    async def check(self, text: str) -> object:
        return await self._stub.Check(check_request(text), timeout=60)


async def comes_back(replica: Replica) -> None:
    """Started, and found by who calls already."""
    await asyncio.to_thread(replica.start)
    await until(lambda: requests_begun(replica, "Check") > 0, within_s=15)


def requests_begun(replica: Replica, method: str) -> float:
    name = f'grpc_server_started_total{{grpc_method="{method}",grpc_service="wardgate.v1.GuardrailService"}} '
    with urllib.request.urlopen(f"http://127.0.0.1:{replica.http_port}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))


def status(replica: Replica, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{replica.http_port}/{path}", timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
