"""Who may change what serves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from guards.errors import ConfigError
from service.app import App
from service.config import Settings
from tests.refusals import Refusal, refusal
from tests.service.rollout.versions import ADMIN, USER, Versions
from wardgate.v1 import reward_model_pb2 as models

OpenApp = Callable[[Settings], AbstractAsyncContextManager[App]]
SERVICE = "wardgate.v1.RewardModelService"
CHANGES = {
    "SetRollout": models.SetRolloutRequest(model="2", stage=models.ROLLOUT_STAGE_ACTIVE),
    "RollBack": models.RollBackRequest(),
}
READS = {
    "ListRewardModels": models.ListRewardModelsRequest(),
    "GetRewardModel": models.GetRewardModelRequest(model="1"),
}


def bearer(token: str | None) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),) if token else ()


@pytest.fixture
def tokens(versions: Versions) -> Path:
    file = versions.root / "tokens"
    file.write_text(f"{USER}\n")
    return file


@pytest.fixture
def call(open_app: OpenApp) -> Callable[..., object]:
    """Calls a method of an app with these grpc settings and this token."""

    async def made(versions: Versions, grpc_settings: dict[str, object], method: str, token: str | None) -> bytes:
        settings = versions.settings(grpc={"port": 0, "drain_s": 1.0, **grpc_settings})
        async with open_app(settings) as app, grpc.aio.insecure_channel(f"127.0.0.1:{app.server.port}") as channel:
            rpc = channel.unary_unary(f"/{SERVICE}/{method}", None, None)
            raw: bytes = await rpc((CHANGES | READS)[method].SerializeToString(), metadata=bearer(token), timeout=60)
            return raw

    return made


def setting_in(refused: Refusal) -> str:
    return str(refused.detail(error_details_pb2.ErrorInfo).metadata["setting"])


@pytest.mark.parametrize("method", CHANGES)
@pytest.mark.parametrize("token", [None, USER, ADMIN])
async def test_without_admins_nobody_may_change_anything(
    versions: Versions, call: Callable[..., object], method: str, token: str | None
) -> None:
    refused = await refusal(call(versions, {}, method, token))  # type: ignore[arg-type]
    assert (refused.code, refused.reason) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")
    assert setting_in(refused) == "grpc.admin_tokens_file"


@pytest.mark.parametrize("method", CHANGES)
@pytest.mark.parametrize(
    ("token", "code"),
    [
        (None, grpc.StatusCode.UNAUTHENTICATED),
        ("unknown-token-0123456789", grpc.StatusCode.UNAUTHENTICATED),
        (USER, grpc.StatusCode.PERMISSION_DENIED),
    ],
)
async def test_a_change_needs_an_admins_token(
    versions: Versions, tokens: Path, call: Callable[..., object], method: str, token: str | None, code: grpc.StatusCode
) -> None:
    settings = {"tokens_file": tokens, "admin_tokens_file": versions.admin_tokens}
    refused = await refusal(call(versions, settings, method, token))  # type: ignore[arg-type]
    assert refused.code is code
    assert ADMIN not in refused.everything
    assert not versions.state.exists()


async def test_an_admin_may_change_and_a_caller_may_look(
    versions: Versions, tokens: Path, call: Callable[..., object]
) -> None:
    second = versions.add("2")
    settings = {"tokens_file": tokens, "admin_tokens_file": versions.admin_tokens}
    raw = await call(versions, settings, "SetRollout", ADMIN)  # type: ignore[misc]
    assert models.SetRolloutResponse.FromString(raw).model.digest == second
    for method in READS:
        for token in (USER, ADMIN):
            assert await call(versions, settings, method, token)  # type: ignore[misc]
        refused = await refusal(call(versions, settings, method, None))  # type: ignore[arg-type]
        assert refused.code is grpc.StatusCode.UNAUTHENTICATED


async def test_with_admins_alone_looking_stays_open(versions: Versions, call: Callable[..., object]) -> None:
    settings = {"admin_tokens_file": versions.admin_tokens}
    for method in READS:
        assert await call(versions, settings, method, None)  # type: ignore[misc]
    refused = await refusal(call(versions, settings, "SetRollout", None))  # type: ignore[arg-type]
    assert refused.code is grpc.StatusCode.UNAUTHENTICATED


async def test_reflection_lists_the_service(versions: Versions, open_app: OpenApp) -> None:
    async with (
        open_app(versions.settings()) as app,
        grpc.aio.insecure_channel(f"127.0.0.1:{app.server.port}") as channel,
    ):
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        asked: Iterator[reflection_pb2.ServerReflectionRequest] = iter(
            [reflection_pb2.ServerReflectionRequest(list_services="")]
        )
        replies = [reply async for reply in stub.ServerReflectionInfo(asked, timeout=10)]
    names = [service.name for reply in replies for service in reply.list_services_response.service]
    assert {SERVICE, "wardgate.v1.GuardrailService"} <= set(names)


def test_a_file_without_admins_is_refused_before_the_port_opens(versions: Versions) -> None:
    versions.admin_tokens.write_text("# nobody yet\n")
    with pytest.raises(ConfigError, match=r"grpc\.admin_tokens_file"):
        App(versions.settings())


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (models.SetRolloutRequest(), ["model", "stage"]),
        (models.SetRolloutRequest(model="2" * 129, stage=models.ROLLOUT_STAGE_NONE), ["model"]),
        (models.SetRolloutRequest(model="2", stage=17), ["stage"]),  # type: ignore[arg-type]
        (models.SetRolloutRequest(model="2", stage=models.ROLLOUT_STAGE_CANARY), ["percent"]),
        (models.SetRolloutRequest(model="2", stage=models.ROLLOUT_STAGE_CANARY, percent=0.001), ["percent"]),
        (models.SetRolloutRequest(model="2", stage=models.ROLLOUT_STAGE_CANARY, percent=100.1), ["percent"]),
        (models.SetRolloutRequest(model="2", stage=models.ROLLOUT_STAGE_CANARY, percent=float("nan")), ["percent"]),
        (models.SetRolloutRequest(model="2", stage=models.ROLLOUT_STAGE_ACTIVE, percent=10), ["percent"]),
    ],
)
async def test_a_change_that_is_not_one_is_refused_field_by_field(
    versions: Versions, open_app: OpenApp, request_: models.SetRolloutRequest, fields: list[str]
) -> None:
    async with (
        open_app(versions.settings()) as app,
        grpc.aio.insecure_channel(f"127.0.0.1:{app.server.port}") as channel,
    ):
        rpc = channel.unary_unary(f"/{SERVICE}/SetRollout", None, None)
        refused = await refusal(rpc(request_.SerializeToString(), metadata=bearer(ADMIN), timeout=60))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.fields == fields
