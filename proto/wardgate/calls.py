"""What each method of the clients sends and expects: the part that blocking and asyncio callers share.

The signatures here are the methods' signatures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import grpc
from google.protobuf.message import Message as ProtobufMessage
from google.protobuf.wrappers_pb2 import Int32Value, StringValue

from wardgate.channel import SERVICE
from wardgate.errors import WardgateError
from wardgate.requests import Conversation, Response, Scope, check_request, explain_request, generate_request
from wardgate.v1.conversation_pb2 import CallContext
from wardgate.v1.explanation_pb2 import AttentionSelection, GenerationSelection
from wardgate.v1.guardrail_pb2 import (
    BatchCheckRequest,
    BatchCheckResponse,
    CheckRequest,
    CheckResponse,
    ExplainResponse,
    GenerateResponse,
)

Result = TypeVar("Result")

_SERVING = 1  # of grpc.health.v1.HealthCheckResponse.ServingStatus


@dataclass(frozen=True, slots=True)
class Call(Generic[Result]):
    """One call to make. `timeout` is in seconds; None takes the client's, of which `generates` chooses the longer.

    `answers` are the results that stand for a status code, instead of an error.
    """

    path: str
    request: ProtobufMessage = field(repr=False)
    decode: Callable[[bytes], Result]
    timeout: float | None
    generates: bool = False
    answers: Mapping[grpc.StatusCode, Result] = field(default_factory=dict)

    def answer(self, error: grpc.RpcError) -> Result:
        """The result that the error stands for. Raises WardgateError when there is none."""
        if error.code() in self.answers:
            return self.answers[error.code()]
        raise WardgateError.from_rpc_error(error) from error


@dataclass(frozen=True, slots=True)
class StreamCall(Generic[Result]):
    """One call to make whose results come one by one. `timeout` is in seconds, of all of them together."""

    path: str
    request: ProtobufMessage = field(repr=False)
    decode: Callable[[bytes], Result]
    timeout: float


def check(
    messages: Conversation,
    *,
    response: Response | None = None,
    responses: Iterable[Response] = (),
    policy: str = "",
    context: CallContext | Mapping[str, str] | None = None,
    scope: Scope = "",
    scores: bool = False,
    explanation: bool = False,
    request_id: str = "",
    timeout: float | None = None,
) -> Call[CheckResponse]:
    """Judges messages, and responses to them if there are any; a text is the user's.

    `policy` is a name or "name@version"; empty leaves it to the server. With `scores`, the reply holds every head's;
    with `explanation`, why the head that weighed most gave its risk, or why that cannot be said in time.
    `timeout` is in seconds. Raises WardgateError.
    """
    request = check_request(
        messages,
        response=response,
        responses=responses,
        policy=policy,
        context=context,
        scope=scope,
        scores=scores,
        explanation=explanation,
        request_id=request_id,
    )
    return Call(f"/{SERVICE}/Check", request, CheckResponse.FromString, timeout)


def batch_check(
    exchanges: Iterable[CheckRequest | Conversation], *, timeout: float | None = None
) -> Call[BatchCheckResponse]:
    """Judges up to 256 exchanges, each a conversation or made by `check_request`.

    An item that failed has an `error`; `WardgateError.from_status` reads it. Raises WardgateError.
    """
    if isinstance(exchanges, str):
        raise TypeError("a batch is a sequence of exchanges, not one text")
    checks = [exchange if isinstance(exchange, CheckRequest) else check_request(exchange) for exchange in exchanges]
    request = BatchCheckRequest(requests=checks)
    return Call(f"/{SERVICE}/BatchCheck", request, BatchCheckResponse.FromString, timeout)


def generate(
    messages: Conversation,
    *,
    max_tokens: int | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    top_k: int | None = None,
    stop: Sequence[str] = (),
    seed: int | None = None,
    policy: str = "",
    context: CallContext | Mapping[str, str] | None = None,
    scope: Scope = "",
    scores: bool = False,
    explanation: bool = False,
    request_id: str = "",
    timeout: float | None = None,
) -> Call[GenerateResponse]:
    """Judges the messages, asks the wrapped model, judges its response. What is None takes the server's default.

    The reply's `message` may be shown: it is redacted, or the safe message, if need be. Raises WardgateError.
    """
    request = generate_request(
        messages,
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        stop=stop,
        seed=seed,
        policy=policy,
        context=context,
        scope=scope,
        scores=scores,
        explanation=explanation,
        request_id=request_id,
    )
    return Call(f"/{SERVICE}/Generate", request, GenerateResponse.FromString, timeout, generates=True)


def explain(
    messages: Conversation,
    *,
    response: Response | None = None,
    head: str = "",
    method: str = "",
    budget: float | None = None,
    top_k: int = 0,
    attention: AttentionSelection | None = None,
    generation: GenerationSelection | None = None,
    policy: str = "",
    context: CallContext | Mapping[str, str] | None = None,
    scope: Scope = "",
    request_id: str = "",
    timeout: float | None = None,
) -> Call[ExplainResponse]:
    """Why a head of the reward model gave the messages, or the response to them, its risk.

    `head` empty takes the policy's. `method` is "fast", "exact", "auto" (the same when empty) or one by name, and may
    take `budget` seconds. With `top_k`, only so many tokens are told. `attention` asks for a map beside it;
    `generation` explains how the wrapped model wrote the response, instead. The server's first explanation waits some
    seconds for a process to start. `timeout` is in seconds. Raises WardgateError.
    """
    request = explain_request(
        messages,
        response=response,
        head=head,
        method=method,
        budget=budget,
        top_k=top_k,
        attention=attention,
        generation=generation,
        policy=policy,
        context=context,
        scope=scope,
        request_id=request_id,
    )
    return Call(f"/{SERVICE}/Explain", request, ExplainResponse.FromString, timeout, generates=True)


def healthy(service: str = "", *, timeout: float | None = None) -> Call[bool]:
    """Whether the server, or one service of it, says it serves; False when it cannot be reached or has none such.

    Raises WardgateError for other failures, such as a refused token.
    """
    # grpc.health.v1 without its package: its request is one string and its response one number, as in the wrappers.
    return Call(
        "/grpc.health.v1.Health/Check",
        StringValue(value=service),
        _says_serving,
        timeout,
        answers={
            grpc.StatusCode.UNAVAILABLE: False,
            grpc.StatusCode.DEADLINE_EXCEEDED: False,
            grpc.StatusCode.NOT_FOUND: False,
        },
    )


def _says_serving(reply: bytes) -> bool:
    return Int32Value.FromString(reply).value == _SERVING
