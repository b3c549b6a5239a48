from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

import grpc
import pytest

from wardgate import AsyncClient, WardgateError


class Unavailable(grpc.GenericRpcHandler):
    """Has no time for any method; counts who asks."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:  # type: ignore[type-arg]
        method = str(handler_call_details.method)
        self.asked[method.rpartition("/")[2]] += 1

        async def refuse(_: bytes, context: grpc.aio.ServicerContext) -> None:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not now")

        if method.endswith("/WatchProbeRun"):
            return grpc.unary_stream_rpc_method_handler(refuse)
        return grpc.unary_unary_rpc_method_handler(refuse)


@pytest.fixture
async def client() -> AsyncIterator[tuple[AsyncClient, Counter[str]]]:
    handler = Unavailable()
    server = grpc.aio.server(handlers=[handler])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with AsyncClient(f"127.0.0.1:{port}") as asking:
        yield asking, handler.asked
    await server.stop(None)


async def test_what_only_reads_is_asked_four_times(client: tuple[AsyncClient, Counter[str]]) -> None:
    asking, asked = client
    for call in (
        asking.check("hello"),
        asking.generate("hello"),
        asking.explain("hello"),
        asking.batch_check([]),
        asking.list_reward_models(),
        asking.get_reward_model("1"),
        asking.list_probe_suites(),
        asking.list_probe_runs(),
        asking.get_probe_run("1"),
    ):
        with pytest.raises(WardgateError):
            await call
    with pytest.raises(WardgateError):
        _ = [run async for run in asking.watch_probe_run("1")]
    assert set(asked.values()) == {4}
    assert len(asked) == 10


async def test_what_changes_something_is_asked_once(client: tuple[AsyncClient, Counter[str]]) -> None:
    asking, asked = client
    for call in (
        asking.set_rollout("1", "shadow"),
        asking.roll_back(),
        asking.start_probe_run("guard"),
        asking.pause_probe_run("1"),
        asking.resume_probe_run("1"),
        asking.cancel_probe_run("1"),
    ):
        with pytest.raises(WardgateError):
            await call
    assert set(asked.values()) == {1}
    assert len(asked) == 6
