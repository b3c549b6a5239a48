from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import pytest

import wardgate
from tests.client.conftest import GuardrailServer
from wardgate.channel import is_loopback
from wardgate.v1 import guardrail_pb2_grpc


@pytest.mark.parametrize(
    "target",
    [
        "localhost:50051",
        "127.0.0.1:50051",
        "127.9.9.9:1",
        "[::1]:50051",
        "dns:///localhost:50051",
        "dns:localhost:50051",
        "ipv4:127.0.0.1:50051",
        "ipv6:[::1]:50051",
        "unix:///run/wardgate.sock",
    ],
)
def test_this_machine_is_known_by_its_names(target: str) -> None:
    assert is_loopback(target)


@pytest.mark.parametrize(
    "target",
    [
        "wardgate:50051",
        "10.0.0.1:50051",
        "localhost.example.com:50051",
        "127.0.0.1.example.com:50051",
        "dns://10.0.0.53/localhost:50051",
        "ipv4:127.0.0.1:50051,10.0.0.1:50051",
        "[2001:db8::1]:50051",
        "",
    ],
)
def test_other_machines_are_not_this_one(target: str) -> None:
    assert not is_loopback(target)


def test_a_token_does_not_leave_this_machine_in_plain_text() -> None:
    with pytest.raises(ValueError, match="insecure_token=True") as caught:
        wardgate.Client("wardgate:50051", token="hush-hush")
    assert "hush-hush" not in str(caught.value)
    wardgate.Client("wardgate:50051", token="hush-hush", insecure_token=True).close()
    wardgate.Client("wardgate:50051", token="hush-hush", tls=wardgate.TLS()).close()


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "naïve"])
def test_a_token_that_cannot_be_a_header_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="bearer token"):
        wardgate.Client("localhost:1", token=token)


def test_half_a_client_certificate_is_refused() -> None:
    with pytest.raises(ValueError, match="both"):
        wardgate.TLS(private_key=b"key")


def test_a_timeout_that_never_lets_a_call_through_is_refused() -> None:
    with pytest.raises(ValueError, match="timeout"):
        wardgate.Client("localhost:1", timeout=0)


def test_keys_are_not_shown() -> None:
    assert "PRIVATE" not in repr(wardgate.TLS(private_key=b"PRIVATE", certificate_chain=b"chain"))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """Key and self-signed certificate of "guardrail.test", which is a server's and a client's."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl makes the certificate")
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subject = ["-subj", "/CN=guardrail.test", "-addext", "subjectAltName=DNS:guardrail.test"]
    new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([openssl, *new, *subject, *files], check=True, capture_output=True)
    return Path(key).read_bytes(), Path(certificate).read_bytes()


@pytest.fixture
def tls_server(certificate: tuple[bytes, bytes]) -> Iterator[GuardrailServer]:
    """Wants a certificate from its callers too."""
    key, chain = certificate
    servicer = GuardrailServer()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    guardrail_pb2_grpc.add_GuardrailServiceServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
    credentials = grpc.ssl_server_credentials([(key, chain)], root_certificates=chain, require_client_auth=True)
    servicer.port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    yield servicer
    server.stop(0).wait()


async def test_over_tls_the_current_token_goes_with_every_call(
    certificate: tuple[bytes, bytes], tls_server: GuardrailServer
) -> None:
    key, chain = certificate
    tls = wardgate.TLS(chain, private_key=key, certificate_chain=chain, server_name="guardrail.test")
    tokens = iter(["one", "two", "three"])
    with wardgate.Client(tls_server.target, tls=tls, token=lambda: next(tokens)) as client:
        client.check("hello")
        client.check("hello")
    async with wardgate.AsyncClient(tls_server.target, tls=tls, token=lambda: next(tokens)) as other:
        await other.check("hello")
    sent = [recorded.metadata["authorization"] for recorded in tls_server.calls]
    assert sent == ["Bearer one", "Bearer two", "Bearer three"]


def test_a_token_source_that_fails_fails_the_call(
    certificate: tuple[bytes, bytes], tls_server: GuardrailServer
) -> None:
    key, chain = certificate
    tls = wardgate.TLS(chain, private_key=key, certificate_chain=chain, server_name="guardrail.test")
    with (
        wardgate.Client(tls_server.target, tls=tls, token=lambda: "") as client,
        pytest.raises(wardgate.WardgateError),
    ):
        client.check("hello", timeout=5.0)
    assert tls_server.calls == []


def test_a_server_with_an_unknown_certificate_is_not_talked_to(tls_server: GuardrailServer) -> None:
    tls = wardgate.TLS(server_name="guardrail.test")
    with (
        wardgate.Client(tls_server.target, tls=tls, token="hush-hush") as client,
        pytest.raises(wardgate.WardgateError) as caught,
    ):
        client.check("hello", timeout=3.0)
    assert caught.value.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
    assert tls_server.calls == []
