"""grpc.health.v1: who serves, for balancers and orchestrators.

grpcio-health-checking has a servicer for it, which forgets the other watchers of a name when one of them leaves, and
whose watchers keep a server from stopping until its grace has passed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_Status = health_pb2.HealthCheckResponse


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # the stubs lack it
    """Lives on one event loop. Names that were never set are unknown."""

    def __init__(self) -> None:
        self._serving: dict[str, bool] = {}
        self._changed = asyncio.Event()
        self.retired = False
        self._ended = False

    def set(self, serving: Mapping[str, bool]) -> None:
        """Has no effect once retired."""
        if not self.retired:
            self._serving |= serving
            self._tell()

    def retire(self) -> None:
        """Nothing serves from now on; watchers hear so at once."""
        self.set(dict.fromkeys(self._serving, False))
        self.retired = True

    def end(self) -> None:
        """Ends the streams of the watchers, once they have heard the last word."""
        self._ended = True
        self._tell()

    async def Check(self, request: Any, context: Any) -> Any:
        """NOT_FOUND for an unknown name."""
        if request.service not in self._serving:
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no such name")
        return _Status(status=self._status(request.service))

    async def Watch(self, request: Any, context: Any) -> AsyncGenerator[Any, None]:
        told = None
        while True:
            changed, status = self._changed, self._status(request.service)
            if status != told:
                yield _Status(status=status)
                told = status
            elif self._ended:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the server is stopping")
            else:
                await changed.wait()

    def _status(self, name: str) -> Any:
        serving = self._serving.get(name)
        if serving is None:
            return _Status.SERVICE_UNKNOWN
        return _Status.SERVING if serving else _Status.NOT_SERVING

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
