"""A real server without models: it records calls and answers as the test says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from wardgate.v1 import guardrail_pb2, guardrail_pb2_grpc

Respond = Callable[[Message, grpc.ServicerContext], Message]


@dataclass
class Recorded:
    request: Any
    metadata: dict[str, str]
    time_remaining_s: float


@dataclass
class GuardrailServer(guardrail_pb2_grpc.GuardrailServiceServicer):
    """`respond` answers every method; by default with the request's own identifier."""

    calls: list[Recorded] = field(default_factory=list)
    respond: Respond | None = None
    port: int = 0
    health: health.HealthServicer = field(default_factory=health.HealthServicer)

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _answer(self, request: Message, context: grpc.ServicerContext, default: Message) -> Message:
        metadata = {key: str(value) for key, value in context.invocation_metadata()}
        self.calls.append(Recorded(request, metadata, context.time_remaining()))
        return default if self.respond is None else self.respond(request, context)

    def Check(self, request: guardrail_pb2.CheckRequest, context: grpc.ServicerContext) -> Message:
        return self._answer(request, context, guardrail_pb2.CheckResponse(request_id=request.request_id))

    def BatchCheck(self, request: guardrail_pb2.BatchCheckRequest, context: grpc.ServicerContext) -> Message:
        items = [
            guardrail_pb2.BatchCheckItem(response=guardrail_pb2.CheckResponse(request_id=item.request_id))
            for item in request.requests
        ]
        return self._answer(request, context, guardrail_pb2.BatchCheckResponse(items=items))

    def Generate(self, request: guardrail_pb2.GenerateRequest, context: grpc.ServicerContext) -> Message:
        return self._answer(request, context, guardrail_pb2.GenerateResponse(request_id=request.request_id))

    def Explain(self, request: guardrail_pb2.ExplainRequest, context: grpc.ServicerContext) -> Message:
        return self._answer(request, context, guardrail_pb2.ExplainResponse(request_id=request.request_id))


@pytest.fixture
def guardrail() -> Iterator[GuardrailServer]:
    servicer = GuardrailServer()
    server = grpc.server(futures.ThreadPoolExecutor(4))
    guardrail_pb2_grpc.add_GuardrailServiceServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
    health_pb2_grpc.add_HealthServicer_to_server(servicer.health, server)
    servicer.health.set("reward-model", health_pb2.HealthCheckResponse.NOT_SERVING)
    servicer.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield servicer
    server.stop(0).wait()
