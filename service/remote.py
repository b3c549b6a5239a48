"""What the commands that ask a running server share: its options, and the call."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from guards.errors import ConfigError

if TYPE_CHECKING:  # loading gRPC takes longer than most commands
    from wardgate import TLS, Client

LOCAL_SERVER = "127.0.0.1:50051"


def add_server_options(parser: ArgumentParser, default: str = LOCAL_SERVER) -> None:
    """Which server a command asks, and how."""
    here = f"; default {default}" if default else "; without it, this process does"
    parser.add_argument("--server", default=default, metavar="HOST:PORT", help=f"answers{here}")
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE", help="holds one bearer token; changes need an admin's"
    )
    parser.add_argument("--ca-file", type=Path, metavar="FILE", help="PEM; speaks TLS and trusts what it signed")
    parser.add_argument("--certificate-file", type=Path, metavar="FILE", help="PEM; our own, for mutual TLS")
    parser.add_argument("--key-file", type=Path, metavar="FILE", help="PEM; its key")
    parser.add_argument("--json", action="store_true", help="print JSON")


def call(options: Namespace, use: Callable[[Client], None]) -> int:
    """Calls the server that the options name; what it refuses is told, with 2."""
    from wardgate import WardgateError

    try:
        with _client(options) as client:
            use(client)
    except WardgateError as error:
        print(f"wardgate: {error}", file=sys.stderr)
        return 2
    return 0


def _client(options: Namespace) -> Client:
    from wardgate import Client

    tls = _tls(options)
    token = _token(_read(options.token_file, "--token-file")) if options.token_file else None
    try:
        return Client(options.server, tls=tls, token=token)
    except ValueError as error:
        raise ConfigError(
            f"the token for {options.server} cannot be sent: over another machine's port it needs --ca-file"
        ) from error


def _tls(options: Namespace) -> TLS | None:
    from wardgate import TLS

    if bool(options.certificate_file) != bool(options.key_file):
        raise ConfigError("--certificate-file and --key-file go together")
    if not options.ca_file:
        if options.certificate_file:
            raise ConfigError("--certificate-file needs --ca-file: without TLS there is no certificate to show")
        return None
    root = _read(options.ca_file, "--ca-file")
    if not options.certificate_file:
        return TLS(root)
    return TLS(root, _read(options.key_file, "--key-file"), _read(options.certificate_file, "--certificate-file"))


def _token(content: bytes) -> str:
    """The first one of a file as `grpc.tokens_file`."""
    lines = (line.strip() for line in content.decode(errors="replace").splitlines())
    return next((line for line in lines if line and not line.startswith("#")), "")


def _read(file: Path, option: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{option} {file}: cannot be read: {error.strerror}") from error
