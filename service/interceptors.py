"""What surrounds every RPC: who calls, how much time there is, and the one table from errors to status codes."""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TypeAlias, TypeVar

import grpc
from google.protobuf.any_pb2 import Any as AnyProto
from google.protobuf.message import Message as ProtoMessage
from google.rpc import code_pb2, error_details_pb2, status_pb2

from guards.errors import (
    BackendError,
    ConfigError,
    DeadlineExceeded,
    InvalidInput,
    MessageTooLarge,
    Overloaded,
    PermissionDenied,
    PreconditionFailed,
    Unauthenticated,
    Unavailable,
    UnknownName,
    WardgateError,
)
from service.config import GrpcSettings
from service.convert import duration
from service.logs import fault_fields
from service.metrics import Metrics

log = logging.getLogger(__name__)

ERROR_DOMAIN = "wardgate"
STATUS_TRAILER = "grpc-status-details-bin"
ADMIN_SETTING = "grpc.admin_tokens_file"
_NOT_RETRIABLE = frozenset({"unauthorized", "bad_request"})  # an operator must mend these upstream faults

Context: TypeAlias = "grpc.aio.ServicerContext[bytes, ProtoMessage]"
Method = Callable[[bytes, float], Awaitable[ProtoMessage]]
StreamMethod = Callable[[bytes, float], AsyncGenerator[ProtoMessage, None]]
Handler = Callable[[bytes, Context], Awaitable[ProtoMessage]]
StreamHandler = Callable[[bytes, Context], Awaitable[None]]
RpcHandler: TypeAlias = "grpc.RpcMethodHandler[bytes, ProtoMessage]"
Details = list[ProtoMessage]
R = TypeVar("R")


def status_of(error: Exception) -> status_pb2.Status:
    """The one table from errors to status codes. An error that is not ours tells the caller nothing."""
    code, details = _code_and_details(error)
    if not isinstance(error, WardgateError) or code == code_pb2.INTERNAL:
        return _status(code_pb2.INTERNAL, "internal error", WardgateError.reason, [])
    setting = {"setting": error.setting} if isinstance(error, PermissionDenied) else {}
    return _status(code, str(error), error.reason, details, setting)


def _code_and_details(error: Exception) -> tuple[int, Details]:
    match error:
        case MessageTooLarge():
            return code_pb2.RESOURCE_EXHAUSTED, []
        case InvalidInput():
            return code_pb2.INVALID_ARGUMENT, [_bad_request(error)] if error.violations else []
        case UnknownName():
            return code_pb2.NOT_FOUND, [
                error_details_pb2.ResourceInfo(resource_type=error.kind, description=str(error))
            ]
        case PreconditionFailed():
            return code_pb2.FAILED_PRECONDITION, [_precondition(error.kind, error.subject, str(error))]
        case Unauthenticated():
            return code_pb2.UNAUTHENTICATED, []
        case PermissionDenied():
            return code_pb2.PERMISSION_DENIED, []
        case Overloaded():
            return code_pb2.RESOURCE_EXHAUSTED, [_retry(error.retry_after_s)]
        case DeadlineExceeded():
            return code_pb2.DEADLINE_EXCEEDED, []
        case BackendError(kind=kind) if kind in _NOT_RETRIABLE:
            return code_pb2.FAILED_PRECONDITION, [_precondition("BACKEND", kind, str(error))]
        case Unavailable():
            return code_pb2.UNAVAILABLE, [_retry(error.retry_after_s)]
        case _:
            return code_pb2.INTERNAL, []


def _status(
    code: int, message: str, reason: str, details: Details, metadata: Mapping[str, str] | None = None
) -> status_pb2.Status:
    info = error_details_pb2.ErrorInfo(reason=reason, domain=ERROR_DOMAIN, metadata=metadata)
    return status_pb2.Status(code=code, message=message, details=[_packed(detail) for detail in [info, *details]])


def _packed(detail: ProtoMessage) -> AnyProto:
    packed = AnyProto()
    packed.Pack(detail)
    return packed


def _bad_request(error: InvalidInput) -> ProtoMessage:
    violations = [
        error_details_pb2.BadRequest.FieldViolation(field=violation.field, description=violation.description)
        for violation in error.violations
    ]
    detail: ProtoMessage = error_details_pb2.BadRequest(field_violations=violations)
    return detail


def _precondition(kind: str, subject: str, description: str) -> ProtoMessage:
    violation = error_details_pb2.PreconditionFailure.Violation(type=kind, subject=subject, description=description)
    detail: ProtoMessage = error_details_pb2.PreconditionFailure(violations=[violation])
    return detail


def _retry(seconds: float) -> ProtoMessage:
    detail: ProtoMessage = error_details_pb2.RetryInfo(retry_delay=duration(seconds))
    return detail


_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


class Failures:
    """Where every failed call or item passes: counted, logged if it is our fault, and made a status."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def status(self, method: str, error: Exception) -> status_pb2.Status:
        status = status_of(error)
        reason = error.reason if isinstance(error, WardgateError) else WardgateError.reason
        self._metrics.rejections.labels(reason.lower()).inc()
        if isinstance(error, BackendError):
            self._metrics.backend_errors.labels(error.kind).inc()
        if status.code == code_pb2.INTERNAL:
            log.error("request failed", extra={"method": method, "reason": reason, **fault_fields(error)})
        return status


class Boundary:
    """Wraps a method: times it, gives it a deadline, turns its errors into a status with details."""

    def __init__(self, service: str, settings: GrpcSettings, metrics: Metrics, failures: Failures) -> None:
        self._service = service
        self._settings = settings
        self._metrics = metrics
        self._failures = failures

    def unary(self, name: str, method: Method) -> Handler:
        async def answer(raw: bytes, context: Context) -> ProtoMessage:
            started, budget_s = time.monotonic(), self._budget_s(context.time_remaining())
            return await _in_time(method(raw, started + budget_s), budget_s)

        return self._guarded(name, answer)

    def stream(self, name: str, method: StreamMethod) -> StreamHandler:
        """Many replies to one request. A caller without a deadline is given the longest."""

        async def answer(raw: bytes, context: Context) -> None:
            longest_s = self._settings.max_deadline_s
            started, budget_s = time.monotonic(), self._budget_s(context.time_remaining(), longest_s)

            async def write_all() -> None:
                async with aclosing(method(raw, started + budget_s)) as replies:
                    async for reply in replies:
                        await context.write(reply)

            await _in_time(write_all(), budget_s)

        return self._guarded(name, answer)

    def _guarded(self, name: str, answer: Callable[[bytes, Context], Awaitable[R]]) -> Callable[..., Awaitable[R]]:
        """Times and counts it, and turns its errors into a status with details."""

        async def handle(raw: bytes, context: Context) -> R:
            started = time.monotonic()
            self._metrics.grpc_started.labels(self._service, name).inc()
            code = grpc.StatusCode.CANCELLED  # unless it ends some other way
            try:
                reply = await answer(raw, context)
                code = grpc.StatusCode.OK
                return reply
            except Exception as error:
                status = self._failures.status(name, error)
                code = _CODES[status.code]
            finally:
                self._metrics.grpc_handled.labels(self._service, name, code.name).inc()
                self._metrics.grpc_duration.labels(self._service, name).observe(time.monotonic() - started)
            trailers = ((STATUS_TRAILER, status.SerializeToString()),)
            await context.abort(code, status.message, trailers)
            raise AssertionError("abort raises")

        return handle

    def _budget_s(self, remaining_s: float | None, default_s: float | None = None) -> float:
        if remaining_s is None:
            if self._settings.require_deadline:
                raise PreconditionFailed(
                    "a deadline is required; set a timeout on the call", kind="DEADLINE", subject="deadline"
                )
            return default_s or self._settings.default_deadline_s
        if remaining_s <= 0:
            raise DeadlineExceeded("the deadline had passed on arrival")
        return min(remaining_s, self._settings.max_deadline_s)


async def _in_time(work: Awaitable[R], budget_s: float) -> R:
    try:
        async with asyncio.timeout(budget_s) as limit:
            return await work
    except TimeoutError:
        if not limit.expired():
            raise  # a fault of ours, not the end of the caller's time
        raise DeadlineExceeded(f"not done within {budget_s:.3f} s") from None


class Authentication(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    """Asks for a bearer token on every RPC but health checks, and for an admin's on those in `admin_paths`.

    Without `tokens`, only `admin_paths` are guarded; an admin's token opens everything.
    """

    def __init__(
        self, tokens: Sequence[str], admin_tokens: Sequence[str] = (), admin_paths: frozenset[str] = frozenset()
    ) -> None:
        self._tokens = [token.encode() for token in tokens]
        self._admin_tokens = [token.encode() for token in admin_tokens]
        self._admin_paths = admin_paths if admin_tokens else frozenset()
        self._unauthenticated = _refusing(Unauthenticated("send a known token as `authorization: Bearer TOKEN`"))
        self._denied = _refusing(PermissionDenied("only a token of grpc.admin_tokens_file may do this", ADMIN_SETTING))

    @classmethod
    def from_file(
        cls, file: Path | None, admin_file: Path | None = None, admin_paths: frozenset[str] = frozenset()
    ) -> Authentication:
        """Files have one token a line; `#` begins a comment. Raises ConfigError."""
        tokens = _read_tokens(file, "grpc.tokens_file") if file else ()
        return cls(tokens, _read_tokens(admin_file, ADMIN_SETTING) if admin_file else (), admin_paths)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[RpcHandler]],
        details: grpc.HandlerCallDetails,
    ) -> RpcHandler:
        if details.method.startswith("/grpc.health.v1.Health/"):
            return await continuation(details)
        presented = _presented(details.invocation_metadata)
        admin, known = _is_one(presented, self._admin_tokens), _is_one(presented, self._tokens)
        if details.method in self._admin_paths and not admin:
            return self._denied if known else self._unauthenticated
        if self._tokens and not (known or admin):
            return self._unauthenticated
        return await continuation(details)


def _read_tokens(file: Path, setting: str) -> list[str]:
    try:
        lines = [line.strip() for line in file.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{setting} {file}: cannot be read: {type(error).__name__}") from error
    tokens = [line for line in lines if line and not line.startswith("#")]
    if not tokens or min(map(len, tokens)) < 16:
        raise ConfigError(f"{setting} {file}: needs at least one token, each of 16 characters or more")
    return tokens


def _presented(metadata: Sequence[tuple[str, str | bytes]]) -> bytes:
    for key, value in metadata or ():
        if key == "authorization" and isinstance(value, str) and value.startswith("Bearer "):
            return value.removeprefix("Bearer ").encode()
    return b""


def _is_one(presented: bytes, tokens: Sequence[bytes]) -> bool:
    """Every token is compared, each in constant time, so that timing tells nothing."""
    return any([hmac.compare_digest(presented, token) for token in tokens])


def _refusing(error: WardgateError) -> RpcHandler:
    status = status_of(error)

    async def refuse(_: bytes, context: Context) -> ProtoMessage:
        trailers = ((STATUS_TRAILER, status.SerializeToString()),)
        await context.abort(_CODES[status.code], status.message, trailers)
        raise AssertionError("abort raises")

    return grpc.unary_unary_rpc_method_handler(refuse)


async def deny_without_admins(_: bytes, __: float) -> ProtoMessage:
    """What stands for an admin's method on a server that has no admins."""
    fault = f"nobody may do this: the server's config has no {ADMIN_SETTING}"
    raise PermissionDenied(fault, ADMIN_SETTING)
