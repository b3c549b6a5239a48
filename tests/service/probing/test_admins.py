"""Who may begin and end runs, and what a request has to say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from tests.refusals import Refusal, refusal
from tests.service.probing.conftest import Probe
from tests.service.probing.suites import settings_for
from tests.service.rollout.versions import ADMIN, USER, Versions
from wardgate.v1 import probe_pb2 as probes

SERVICE = "wardgate.v1.ProbeService"
CHANGES: dict[str, Any] = {
    "StartProbeRun": probes.StartProbeRunRequest(suite="tiny"),
    "PauseProbeRun": probes.PauseProbeRunRequest(id="1"),
    "ResumeProbeRun": probes.ResumeProbeRunRequest(id="1"),
    "CancelProbeRun": probes.CancelProbeRunRequest(id="1"),
}
READS: dict[str, Any] = {
    "ListProbeSuites": probes.ListProbeSuitesRequest(),
    "ListProbeRuns": probes.ListProbeRunsRequest(),
}


class Caller:
    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    async def call(self, method: str, request: Any, token: str | None) -> bytes:
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        rpc = self._channel.unary_unary(f"/{SERVICE}/{method}", None, None)
        raw: bytes = await rpc(request.SerializeToString(), metadata=metadata, timeout=60)
        return raw

    async def watch(self, request: Any, token: str | None) -> list[bytes]:
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        rpc = self._channel.unary_stream(f"/{SERVICE}/WatchProbeRun", None, None)
        return [raw async for raw in rpc(request.SerializeToString(), metadata=metadata, timeout=60)]

    async def refused(self, method: str, request: Any, token: str | None) -> Refusal:
        return await refusal(self.call(method, request, token))


@pytest.fixture
async def caller(probed: Probe, versions: Versions) -> AsyncIterator[Caller]:
    (versions.root / "tokens").write_text(f"{USER}\n")
    tokens = {"tokens_file": versions.root / "tokens", "admin_tokens_file": versions.admin_tokens}
    settings = settings_for(versions, grpc={"port": 0, "drain_s": 1.0, **tokens})
    async with (
        probed(settings) as service,
        grpc.aio.insecure_channel(f"127.0.0.1:{service.app.server.port}") as channel,
    ):
        yield Caller(channel)


async def test_changes_need_an_admins_token_and_looking_a_callers(caller: Caller) -> None:
    for method, request in CHANGES.items():
        assert (await caller.refused(method, request, USER)).code is grpc.StatusCode.PERMISSION_DENIED
        for token in (None, "unknown-token-0123456789"):
            assert (await caller.refused(method, request, token)).code is grpc.StatusCode.UNAUTHENTICATED
    for method, request in READS.items():
        for token in (USER, ADMIN):
            await caller.call(method, request, token)
        assert (await caller.refused(method, request, None)).code is grpc.StatusCode.UNAUTHENTICATED
    watch = probes.WatchProbeRunRequest(id="1")
    assert (await refusal(caller.watch(watch, None))).code is grpc.StatusCode.UNAUTHENTICATED
    assert (await refusal(caller.watch(watch, USER))).code is grpc.StatusCode.NOT_FOUND
    listed = probes.ListProbeRunsResponse.FromString(await caller.call("ListProbeRuns", READS["ListProbeRuns"], USER))
    assert not listed.runs


@pytest.mark.parametrize("token", [None, USER, ADMIN])
async def test_without_admins_nobody_begins_a_run(probed: Probe, versions: Versions, token: str | None) -> None:
    settings = settings_for(versions, grpc={"port": 0, "drain_s": 1.0})
    async with (
        probed(settings) as service,
        grpc.aio.insecure_channel(f"127.0.0.1:{service.app.server.port}") as channel,
    ):
        for method, request in CHANGES.items():
            refused = await Caller(channel).refused(method, request, token)
            assert refused.code is grpc.StatusCode.PERMISSION_DENIED


async def test_a_request_is_refused_field_by_field(caller: Caller) -> None:
    for method, request, fields in (
        ("StartProbeRun", probes.StartProbeRunRequest(), ["suite"]),
        ("StartProbeRun", probes.StartProbeRunRequest(suite="t" * 129, policy="p" * 129), ["suite", "policy"]),
        ("StartProbeRun", probes.StartProbeRunRequest(suite="tiny", budget=Duration()), ["budget"]),
        ("StartProbeRun", probes.StartProbeRunRequest(suite="tiny", budget=Duration(seconds=10**10)), ["budget"]),
        ("StartProbeRun", probes.StartProbeRunRequest(suite="tiny", seed=-(2**40)), ["seed"]),
        ("GetProbeRun", probes.GetProbeRunRequest(), ["id"]),
        ("CancelProbeRun", probes.CancelProbeRunRequest(id="1" * 129), ["id"]),
        ("ListProbeRuns", probes.ListProbeRunsRequest(page_size=201), ["page_size"]),
        ("ListProbeRuns", probes.ListProbeRunsRequest(page_token="2"), ["page_token"]),
    ):
        refused = await caller.refused(method, request, ADMIN)
        assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, fields), method
    watched = await refusal(caller.watch(probes.WatchProbeRunRequest(), ADMIN))
    assert (watched.code, watched.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["id"])
