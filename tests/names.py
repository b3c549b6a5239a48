"""A name server that says what a test wants: who changes addresses behind a name, as Kubernetes does."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

_HEADER_BYTES = 12
_ADDRESS = 1  # an A record


@dataclass
class Names(asyncio.DatagramProtocol):
    """Every name has these IPv4 addresses. `target` is for a gRPC channel."""

    addresses: list[str] = field(default_factory=list)
    port: int = 0
    _transport: asyncio.DatagramTransport | None = None

    def target(self, port: int) -> str:
        return f"dns://127.0.0.1:{self.port}/wardgate.test:{port}"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """RFC 1035: the question again, then an answer for each address."""
        assert self._transport is not None
        question = data[_HEADER_BYTES : data.index(b"\0", _HEADER_BYTES) + 5]
        (kind,) = struct.unpack("!H", question[-4:-2])
        answers = [_answer(address) for address in self.addresses] if kind == _ADDRESS else []
        header = data[:2] + struct.pack("!5H", 0x8180, 1, len(answers), 0, 0)
        self._transport.sendto(header + question + b"".join(answers), addr)


def _answer(address: str) -> bytes:
    """Of the name in the question, for one second."""
    return b"\xc0\x0c" + struct.pack("!HHIH", _ADDRESS, 1, 1, 4) + socket.inet_aton(address)


@asynccontextmanager
async def name_server() -> AsyncIterator[Names]:
    transport, names = await asyncio.get_running_loop().create_datagram_endpoint(Names, local_addr=("127.0.0.1", 0))
    try:
        yield names
    finally:
        transport.close()
