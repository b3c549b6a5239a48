"""Who may call, over what, and what never leaves."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from guards.errors import ConfigError
from service.__main__ import main
from service.config import GrpcSettings, TlsSettings
from service.interceptors import Authentication
from tests.fakes import FakeBackend, Running, ask, running_server, user, write_policy
from tests.refusals import refusal
from wardgate.v1 import decision_pb2 as decisions
from wardgate.v1 import guardrail_pb2 as guardrail
from wardgate.v1 import guardrail_pb2_grpc

TOKEN = "canary-token-0123456789"
OTHER = "another-token-0123456789"
METHODS = ("Check", "BatchCheck", "Generate", "Nothing")


def tokens_file(folder: Path) -> Path:
    file = folder / "tokens"
    file.write_text(f"# callers\n{OTHER}\n\n  {TOKEN}  \n")
    return file


@asynccontextmanager
async def guarded(tmp_path: Path) -> AsyncIterator[Running]:
    policies = tmp_path / "policies"
    policies.mkdir()
    write_policy(policies)
    settings = GrpcSettings(port=0, drain_s=1.0, tokens_file=tokens_file(tmp_path))
    async with running_server(policies, backend=FakeBackend(), grpc_settings=settings) as server:
        yield server


def call(server: Running, method: str, metadata: tuple[tuple[str, str], ...]):  # type: ignore[no-untyped-def]
    rpc = server.channel.unary_unary(f"/wardgate.v1.GuardrailService/{method}", None, None)
    return rpc(ask("hi").SerializeToString(), metadata=metadata, timeout=10)


@pytest.mark.parametrize(
    "metadata",
    [
        (),
        (("authorization", ""),),
        (("authorization", "Bearer "),),
        (("authorization", "Bearer wrong-token-0123456789"),),
        (("authorization", f"Bearer {TOKEN.upper()}"),),
        (("authorization", f"Bearer {TOKEN[:-1]}"),),
        (("authorization", f"Bearer {TOKEN}x"),),
        (("authorization", f"Basic {TOKEN}"),),
        (("authorization", TOKEN),),
        (("authorization", "Bearer # callers"),),
        (("x-authorization", f"Bearer {TOKEN}"),),
    ],
)
async def test_without_a_known_token_no_method_answers(tmp_path: Path, metadata: tuple[tuple[str, str], ...]) -> None:
    async with guarded(tmp_path) as server:
        refusals = [await refusal(call(server, method, metadata)) for method in METHODS]
    assert {refused.code for refused in refusals} == {grpc.StatusCode.UNAUTHENTICATED}
    assert {refused.reason for refused in refusals} == {"UNAUTHENTICATED"}
    assert not any(TOKEN in refused.everything for refused in refusals)


@pytest.mark.parametrize("token", [TOKEN, OTHER])
async def test_every_known_token_opens(tmp_path: Path, token: str) -> None:
    async with guarded(tmp_path) as server:
        raw = await call(server, "Check", (("authorization", f"Bearer {token}"),))
    assert guardrail.CheckResponse.FromString(raw).decision.action == decisions.ACTION_ALLOW


async def test_health_is_open_and_reflection_is_not(tmp_path: Path) -> None:
    async with guarded(tmp_path) as server:
        health = health_pb2_grpc.HealthStub(server.channel)
        reply = await health.Check(health_pb2.HealthCheckRequest(service="reward-model"), timeout=10)
        assert reply.status == health_pb2.HealthCheckResponse.SERVING
        refused = await refusal(services(server))
        names = await services(server, (("authorization", f"Bearer {TOKEN}"),))
    assert refused.code is grpc.StatusCode.UNAUTHENTICATED
    assert "wardgate.v1.GuardrailService" in names


async def services(server: Running, metadata: tuple[tuple[str, str], ...] = ()) -> list[str]:
    """What reflection lists."""
    stub = reflection_pb2_grpc.ServerReflectionStub(server.channel)
    asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    replies = [reply async for reply in stub.ServerReflectionInfo(asked, metadata=metadata, timeout=10)]
    return [service.name for reply in replies for service in reply.list_services_response.service]


async def test_reflection_can_be_turned_off(tmp_path: Path) -> None:
    write_policy(tmp_path)
    async with running_server(tmp_path, grpc_settings=GrpcSettings(port=0, reflection=False)) as server:
        refused = await refusal(services(server))
    assert refused.code is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("text", ["", "# only a remark\n", f"{TOKEN}\nshort\n", b"\xff\xfe"])
def test_a_tokens_file_that_guards_nothing_is_refused(tmp_path: Path, text: str | bytes) -> None:
    file = tmp_path / "tokens"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError, match=r"grpc\.tokens_file") as refused:
        Authentication.from_file(file)
    assert TOKEN not in str(refused.value)
    with pytest.raises(ConfigError, match="cannot be read"):
        Authentication.from_file(tmp_path / "none")


@dataclass(frozen=True)
class Certificates:
    """Files in one folder: `ca`, and `server` and `client` signed by it; `stranger` signed by nobody we know."""

    folder: Path

    def pem(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()


def openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certificates")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for name in ("ca", "stranger"):
        openssl("req", "-x509", *curve, "-days", "2", "-subj", f"/CN={name}",
                "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem")  # fmt: skip
    csr = folder / "csr"
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    for name in ("server", "client"):
        openssl("req", *curve, "-subj", f"/CN={name}", "-keyout", folder / f"{name}.key", "-out", csr)
        openssl("x509", "-req", "-in", csr, "-CA", folder / "ca.pem", "-CAkey", folder / "ca.key",
                "-CAcreateserial", "-days", "2", "-extfile", folder / "names",
                "-out", folder / f"{name}.pem")  # fmt: skip
    return Certificates(folder)


@asynccontextmanager
async def secured(tmp_path: Path, certificates: Certificates, client_ca: bool) -> AsyncIterator[Running]:
    write_policy(tmp_path)
    folder = certificates.folder
    tls = TlsSettings(
        certificate_file=folder / "server.pem",
        key_file=folder / "server.key",
        client_ca_file=folder / "ca.pem" if client_ca else None,
    )
    async with running_server(tmp_path, grpc_settings=GrpcSettings(port=0, drain_s=1.0, tls=tls)) as server:
        yield server


async def check_over(
    server: Running, certificates: Certificates, ca: str = "ca", client: str | None = None
) -> guardrail.CheckResponse:
    pair = (certificates.pem(f"{client}.key"), certificates.pem(f"{client}.pem")) if client else (None, None)
    credentials = grpc.ssl_channel_credentials(certificates.pem(f"{ca}.pem"), *pair)
    async with grpc.aio.secure_channel(server.address, credentials) as channel:
        stub = guardrail_pb2_grpc.GuardrailServiceStub(channel)  # type: ignore[no-untyped-call]
        reply: guardrail.CheckResponse = await stub.Check(ask("a bomb"), timeout=5)
        return reply


async def test_tls_serves_those_who_trust_it_and_nobody_in_the_clear(
    tmp_path: Path, certificates: Certificates
) -> None:
    async with secured(tmp_path, certificates, client_ca=False) as server:
        reply = await check_over(server, certificates)
        distrusting = await refusal(check_over(server, certificates, ca="stranger"))
        in_the_clear = await refusal(server.check(ask("hi"), timeout=5))
    assert reply.decision.action == decisions.ACTION_BLOCK
    assert distrusting.code is grpc.StatusCode.UNAVAILABLE
    assert in_the_clear.code is grpc.StatusCode.UNAVAILABLE


async def test_mutual_tls_asks_for_a_certificate_of_ours(tmp_path: Path, certificates: Certificates) -> None:
    async with secured(tmp_path, certificates, client_ca=True) as server:
        reply = await check_over(server, certificates, client="client")
        without = await refusal(check_over(server, certificates))
        stranger = await refusal(check_over(server, certificates, client="stranger"))
    assert reply.decision.action == decisions.ACTION_BLOCK
    assert without.code is grpc.StatusCode.UNAVAILABLE
    assert stranger.code is grpc.StatusCode.UNAVAILABLE


async def test_the_command_asks_a_server_by_mutual_tls(
    tmp_path: Path, certificates: Certificates, capsys: pytest.CaptureFixture[str]
) -> None:
    own = ["--certificate-file", str(certificates.folder / "client.pem")]
    key = ["--key-file", str(certificates.folder / "client.key")]
    trusted = ["--ca-file", str(certificates.folder / "ca.pem")]
    async with secured(tmp_path, certificates, client_ca=True) as server:

        async def check(*options: str) -> int:
            return await asyncio.to_thread(main, ["check", "a bomb", "--server", server.address, *options])

        assert await check(*trusted, *own, *key) == 0
        assert capsys.readouterr().out.startswith("BLOCK")
        assert await check(*trusted, *own) == 2
        assert await check(*own, *key) == 2
        assert await check(*trusted, *own, *key, "--config", "wardgate.yaml") == 2
    assert main(["check", "a bomb", *trusted]) == 2
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[2].split(" ")[0] for line in said] == [
        "--certificate-file", "--certificate-file", "--config", "--token-file,",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"certificate_file": "missing.pem"}, r"grpc\.tls\.certificate_file"),
        ({"key_file": "missing.key"}, r"grpc\.tls\.key_file"),
        ({"client_ca_file": "missing.pem"}, r"grpc\.tls\.client_ca_file"),
        ({"key_file": "client.key"}, r"grpc\.tls"),
        ({"certificate_file": "names"}, r"grpc\.tls"),
    ],
)
async def test_unusable_certificates_are_a_configuration_error(
    tmp_path: Path, certificates: Certificates, changes: dict[str, str], what: str
) -> None:
    write_policy(tmp_path)
    files = {"certificate_file": "server.pem", "key_file": "server.key"} | changes
    tls = TlsSettings(**{setting: certificates.folder / name for setting, name in files.items()})
    with pytest.raises(ConfigError, match=what):
        async with running_server(tmp_path, grpc_settings=GrpcSettings(port=0, tls=tls)):
            pass


async def test_a_taken_port_is_a_configuration_error(tmp_path: Path) -> None:
    write_policy(tmp_path)
    async with running_server(tmp_path) as server:
        with pytest.raises(ConfigError, match=r"grpc\.port"):
            async with running_server(tmp_path, grpc_settings=GrpcSettings(port=server.server.port)):
                pass


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")
async def test_ipv6_is_served(tmp_path: Path) -> None:
    write_policy(tmp_path)
    async with (
        running_server(tmp_path, grpc_settings=GrpcSettings(host="::1", port=0)) as server,
        grpc.aio.insecure_channel(f"[::1]:{server.server.port}") as channel,
    ):
        stub = guardrail_pb2_grpc.GuardrailServiceStub(channel)  # type: ignore[no-untyped-call]
        reply = await stub.Check(ask("a bomb"), timeout=5)
    assert reply.decision.action == decisions.ACTION_BLOCK


async def test_neither_text_nor_token_is_ever_logged_not_even_when_debugging(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    secret = "canary-text-77"
    metadata = (("authorization", f"Bearer {TOKEN}"),)
    with caplog.at_level(logging.DEBUG):
        async with guarded(tmp_path) as server:
            stub = guardrail_pb2_grpc.GuardrailServiceStub(server.channel)  # type: ignore[no-untyped-call]
            for text in (secret, f"{secret} bomb"):
                await stub.Check(ask(text, text), metadata=metadata, timeout=10)
                await stub.Generate(guardrail.GenerateRequest(messages=[user(text)]), metadata=metadata, timeout=10)
            await refusal(stub.Check(ask(secret, policy=secret), metadata=metadata, timeout=10))
            await refusal(stub.Check(ask(secret), metadata=(("authorization", f"Bearer {TOKEN}!"),), timeout=10))
    logged = caplog.text + "".join(repr(record.__dict__) for record in caplog.records) + "".join(capfd.readouterr())
    assert [record.message for record in caplog.records if record.name == "wardgate.decisions"] == [
        "checked",
        "generated",
    ] * 2
    assert secret not in logged
    assert TOKEN not in logged
