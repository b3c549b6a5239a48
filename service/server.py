"""The gRPC server: our services, health, reflection, TLS, and an orderly end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from guards.errors import ConfigError
from service.config import GrpcSettings, TlsSettings
from service.health import Health
from service.interceptors import Authentication, Boundary, Failures, Method, StreamMethod, deny_without_admins
from service.metrics import Metrics

REWARD_MODEL = "reward-model"
UPSTREAM = "upstream"
LIVENESS = "liveness"  # serving while the server is: what a restart would not mend does not count

_OVERSIZE_SLACK = 64 << 10  # a message a little too large gets our status with details, not the transport's bare one
_HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
_MOMENT_S = 0.01  # without an arrival
_MOMENT_STEPS = 5  # of the event loop, at most, from the library's word of a call to its handler
_LONGEST_S = 3.0  # to wait for such a moment: under heavy traffic there is none


class Servicer(Protocol):
    """One gRPC service: its full name, its methods, those that answer with a stream, and those for admins alone."""

    service: str
    admin_methods: frozenset[str]

    @property
    def methods(self) -> Mapping[str, Method]: ...

    @property
    def stream_methods(self) -> Mapping[str, StreamMethod]: ...


class Server:
    """Started and stopped once. `port` is known after `start`."""

    def __init__(
        self, settings: GrpcSettings, servicers: Sequence[Servicer], metrics: Metrics, failures: Failures
    ) -> None:
        self._settings = settings
        self.services = tuple(servicer.service for servicer in servicers)
        self.health_names = ("", *self.services, REWARD_MODEL, UPSTREAM, LIVENESS)
        self._health = Health()
        self._arrivals = _Arrivals()
        interceptors = []
        if settings.tokens_file or settings.admin_tokens_file:
            admin = frozenset(f"/{one.service}/{method}" for one in servicers for method in one.admin_methods)
            interceptors.append(Authentication.from_file(settings.tokens_file, settings.admin_tokens_file, admin))
        self._server = grpc.aio.server(interceptors=interceptors, options=_options(settings))
        self._server.add_generic_rpc_handlers((self._arrivals,))  # the first, so that it sees every call
        for servicer in servicers:
            self._register(servicer, Boundary(servicer.service, settings, metrics, failures))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if settings.reflection:
            names = (*self.services, _HEALTH, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self._server)
        self.port = 0

    async def start(self) -> None:
        """Raises ConfigError when the address or a certificate cannot be used."""
        host, tls = self._settings.host, self._settings.tls
        address = f"[{host}]:{self._settings.port}" if ":" in host else f"{host}:{self._settings.port}"
        self.set_health(dict.fromkeys(self.health_names, False))
        try:
            if tls:
                self.port = self._server.add_secure_port(address, _credentials(tls))
            else:
                self.port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            settings = "grpc.host, grpc.port and grpc.tls" if tls else "grpc.host and grpc.port"
            faults = "is the port taken, or the key not the certificate's?" if tls else "is the port taken?"
            raise ConfigError(f"{settings}: cannot listen on {address}; {faults}") from error
        await self._server.start()
        self.set_health({LIVENESS: True})

    def set_health(self, serving: Mapping[str, bool]) -> None:
        self._health.set(serving)

    @property
    def retired(self) -> bool:
        """Whether it has said that it serves no longer."""
        return self._health.retired

    async def retire(self) -> None:
        """Says NOT_SERVING for good, and serves on for `shutdown_delay_s`, so that balancers notice."""
        self._health.retire()
        await asyncio.sleep(self._settings.shutdown_delay_s)

    async def stop(self) -> None:
        """Takes no new calls, and lets those in flight finish within `drain_s`."""
        until = time.monotonic() + self._settings.drain_s
        self._health.retire()
        await self._take_what_arrived(min(until, time.monotonic() + _LONGEST_S))
        self._health.end()
        await self._server.stop(max(0.0, until - time.monotonic()))

    async def _take_what_arrived(self, until: float) -> None:
        """Until no call has come for a moment: the library cancels those that wait to be taken when it stops."""
        while time.monotonic() < until:
            before = self._arrivals.count
            await asyncio.sleep(_MOMENT_S)
            for _ in range(_MOMENT_STEPS):
                await asyncio.sleep(0)
            if self._arrivals.count == before:
                return

    def _register(self, servicer: Servicer, boundary: Boundary) -> None:
        methods = dict(servicer.methods)
        if not self._settings.admin_tokens_file:
            methods |= dict.fromkeys(servicer.admin_methods, deny_without_admins)
        # Without a deserializer requests arrive as bytes: garbage becomes our INVALID_ARGUMENT,
        # not the library's UNKNOWN with a traceback in the log.
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                boundary.unary(name, method), response_serializer=lambda reply: reply.SerializeToString()
            )
            for name, method in methods.items()
        } | {
            name: grpc.unary_stream_rpc_method_handler(
                boundary.stream(name, method), response_serializer=lambda reply: reply.SerializeToString()
            )
            for name, method in servicer.stream_methods.items()
        }
        generic = grpc.method_handlers_generic_handler(servicer.service, handlers)
        self._server.add_generic_rpc_handlers((generic,))


class _Arrivals(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs alone
    """Handles no call, and counts them all."""

    def __init__(self) -> None:
        self.count = 0

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> None:
        self.count += 1


def _options(settings: GrpcSettings) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", settings.max_message_bytes + _OVERSIZE_SLACK),
        ("grpc.max_connection_age_ms", int(settings.max_connection_age_s * 1000)),
        ("grpc.max_connection_age_grace_ms", int(settings.max_deadline_s * 1000)),
        ("grpc.server_handshake_timeout_ms", 10_000),
        # Clients may ping an idle connection, to notice one that a middlebox dropped.
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 20_000),
        ("grpc.so_reuseport", 0),  # two servers on one port would split the traffic unnoticed
    ]


def _credentials(tls: TlsSettings) -> grpc.ServerCredentials:
    pair = (_read(tls.key_file, "grpc.tls.key_file"), _read(tls.certificate_file, "grpc.tls.certificate_file"))
    client_ca = _read(tls.client_ca_file, "grpc.tls.client_ca_file") if tls.client_ca_file else None
    return grpc.ssl_server_credentials([pair], client_ca, require_client_auth=client_ca is not None)


def _read(file: Path, setting: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{setting} {file}: cannot be read: {error.strerror}") from error
