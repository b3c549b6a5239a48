"""How to reach the server: transport security, credentials, retries, limits."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable
from dataclasses import dataclass, field

import grpc

Token = str | Callable[[], str]
"""A bearer token, or where to get the current one; asked before every call."""

SERVICE = "wardgate.v1.GuardrailService"

# The server closes connections that ping more often than every five minutes by default; cloud load balancers
# forget idle ones after 350 s.
_KEEPALIVE_S = 310
_KEEPALIVE_TIMEOUT_S = 20

# A replica that is back is noticed after so long at most; left alone, gRPC waits up to two minutes. The same for names:
# in Kubernetes a restart brings new addresses, and all of them may have changed within gRPC's 30 s between two looks.
_RECONNECT_MS = (100, 2000)  # the first wait, and the longest
_RESOLVE_MS = 2000

# Calls that change nothing, or nothing that counts: no harm is done when one runs twice. Never probe runs and rollouts.
_ASKED_AGAIN: tuple[dict[str, str], ...] = (
    {"service": SERVICE},
    *({"service": "wardgate.v1.ProbeService", "method": f"{verb}ProbeRun"} for verb in ("Get", "Watch")),
    *({"service": "wardgate.v1.ProbeService", "method": f"ListProbe{what}"} for what in ("Runs", "Suites")),
    {"service": "wardgate.v1.RewardModelService", "method": "GetRewardModel"},
    {"service": "wardgate.v1.RewardModelService", "method": "ListRewardModels"},
)

_SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": list(_ASKED_AGAIN),
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.1s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                # CANCELLED by the server: the call reached it in the moment that it stopped.
                "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
            },
        }
    ],
    # When most calls fail, retries stop: they would keep a shedding server down. Until then 500 calls may fail at
    # once, for a replica that dies takes all that it has in flight with it.
    "retryThrottling": {"maxTokens": 1000, "tokenRatio": 0.1},
}


@dataclass(frozen=True, slots=True)
class TLS:
    """Transport security, all PEM. `root_certificates` None takes gRPC's own; key and chain make it mutual.

    `server_name` is the name in the server's certificate, when it is not the target's.
    """

    root_certificates: bytes | None = field(default=None, repr=False)
    private_key: bytes | None = field(default=None, repr=False)
    certificate_chain: bytes | None = field(default=None, repr=False)
    server_name: str = ""

    def __post_init__(self) -> None:
        if (self.private_key is None) != (self.certificate_chain is None):
            raise ValueError("mutual TLS needs both private_key and certificate_chain")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server and how to talk to it. `token` never goes over plain text unless `allow_plain_token` or on loopback."""

    target: str
    tls: TLS | None
    token: Token | None = field(repr=False)
    allow_plain_token: bool
    max_message_bytes: int

    def __post_init__(self) -> None:
        if self.token is not None and self.tls is None and not (self.allow_plain_token or is_loopback(self.target)):
            raise ValueError(
                "a token without TLS can be read on the way: pass tls=, or insecure_token=True to accept that"
            )
        if isinstance(self.token, str):
            _check_token(self.token)

    def credentials(self) -> grpc.ChannelCredentials | None:
        """Of the channel; None without TLS."""
        if self.tls is None:
            return None
        channel = grpc.ssl_channel_credentials(
            self.tls.root_certificates, self.tls.private_key, self.tls.certificate_chain
        )
        if self.token is None:
            return channel
        return grpc.composite_channel_credentials(
            channel, grpc.metadata_call_credentials(_BearerToken(self._current_token))
        )

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Of one call: the token, when there is no TLS to carry it as call credentials."""
        if self.token is None or self.tls is not None:
            return ()
        return (("authorization", f"Bearer {self._current_token()}"),)

    def options(self) -> list[tuple[str, str | int]]:
        options: list[tuple[str, str | int]] = [
            ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
            ("grpc.keepalive_time_ms", _KEEPALIVE_S * 1000),
            ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_S * 1000),
            ("grpc.initial_reconnect_backoff_ms", _RECONNECT_MS[0]),
            ("grpc.max_reconnect_backoff_ms", _RECONNECT_MS[1]),
            ("grpc.dns_min_time_between_resolutions_ms", _RESOLVE_MS),
            ("grpc.max_send_message_length", self.max_message_bytes),
            ("grpc.max_receive_message_length", self.max_message_bytes),
        ]
        if self.tls is None and self.token is not None:
            options.append(("grpc.enable_http_proxy", 0))  # a proxy would read the token
        if self.tls is not None and self.tls.server_name:
            options.append(("grpc.ssl_target_name_override", self.tls.server_name))
        return options

    def _current_token(self) -> str:
        if self.token is None or isinstance(self.token, str):
            return self.token or ""
        token = self.token()
        _check_token(token)
        return token


class _BearerToken(grpc.AuthMetadataPlugin):
    """Call credentials; gRPC attaches them to secure channels only."""

    def __init__(self, current: Callable[[], str]) -> None:
        self._current = current

    def __call__(self, context: grpc.AuthMetadataContext, callback: grpc.AuthMetadataPluginCallback) -> None:
        try:
            token = self._current()
        except Exception as error:  # gRPC fails the call with it; raised here it would leave the call waiting
            callback((), error)
        else:
            callback((("authorization", f"Bearer {token}"),), None)


def is_loopback(target: str) -> bool:
    """Whether a gRPC target names this machine: localhost, 127.0.0.0/8, ::1 or a Unix socket."""
    if target.startswith(("unix:", "unix-abstract:")):
        return True
    for scheme in ("dns:", "ipv4:", "ipv6:"):
        target = target.removeprefix(scheme)
    # "dns://resolver/host:port" asks another machine for the address.
    if target.startswith("//") and not target.startswith("///"):
        return False
    host = target.removeprefix("///").rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_token(token: str) -> None:
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError("a bearer token is printable ASCII without spaces")
