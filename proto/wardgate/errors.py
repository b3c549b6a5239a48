"""What a failed call raises, read from the details the server sends with a status."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, cast

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError

from wardgate.v1 import status_pb2

_DETAILS_KEY = "grpc-status-details-bin"
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class Violation(NamedTuple):
    """One thing to mend. `field` is a path in the request, or what the trouble is about."""

    field: str
    description: str


class WardgateError(Exception):
    """A call, or one item of a batch, failed. A withheld text is not an error: it is a reply with a decision.

    `reason` is the server's stable code, such as "TOO_LARGE"; empty when the call did not reach a Wardgate server.
    `retry_after_s` is set when the server says when to try again.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        reason: str = "",
        retry_after_s: float | None = None,
        violations: tuple[Violation, ...] = (),
    ) -> None:
        super().__init__(code, message, reason, retry_after_s, violations)
        self.code = code
        self.message = message
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.violations = violations

    def __str__(self) -> str:
        parts = [f"{self.code.name}: {self.message}"]
        parts += [f"{violation.field}: {violation.description}" for violation in self.violations]
        return "; ".join(parts)

    @classmethod
    def from_status(cls, status: status_pb2.ItemStatus) -> WardgateError:
        """The error of one item of a batch."""
        return cls._build(_CODES.get(status.code, grpc.StatusCode.UNKNOWN), status.message, status.details)

    @classmethod
    def from_rpc_error(cls, error: grpc.RpcError) -> WardgateError:
        """The error of a call, from either of grpcio's flavours."""
        status = _status_in(error)
        return cls._build(error.code(), error.details() or "", status.details)

    @classmethod
    def _build(cls, code: grpc.StatusCode, message: str, details: Iterable[Any]) -> WardgateError:
        reason, retry_after_s, violations = "", None, list[Violation]()
        for detail in details:
            match _unpacked(detail):
                case status_pb2.ErrorInfo() as info:
                    reason = info.reason
                case status_pb2.RetryInfo() as retry:
                    retry_after_s = retry.retry_delay.ToTimedelta().total_seconds()
                case status_pb2.BadRequest() as bad:
                    violations += [Violation(found.field, found.description) for found in bad.field_violations]
                case status_pb2.PreconditionFailure() as failure:
                    violations += [Violation(found.subject, found.description) for found in failure.violations]
                case status_pb2.ResourceInfo() as resource:
                    violations.append(Violation(resource.resource_type, resource.description))
        return cls(code, message, reason, retry_after_s, tuple(violations))


_Detail = (
    status_pb2.ErrorInfo
    | status_pb2.RetryInfo
    | status_pb2.BadRequest
    | status_pb2.PreconditionFailure
    | status_pb2.ResourceInfo
)
_DETAILS: dict[str, type[_Detail]] = {
    "google.rpc.ErrorInfo": status_pb2.ErrorInfo,
    "google.rpc.RetryInfo": status_pb2.RetryInfo,
    "google.rpc.BadRequest": status_pb2.BadRequest,
    "google.rpc.PreconditionFailure": status_pb2.PreconditionFailure,
    "google.rpc.ResourceInfo": status_pb2.ResourceInfo,
}


def _status_in(error: grpc.RpcError) -> status_pb2.ItemStatus:
    """The status with details; an empty one when a proxy or an old server sent none, or garbage."""
    # Pairs in both flavours, whatever the stubs call them.
    for key, value in cast("Iterable[tuple[str, bytes]]", error.trailing_metadata() or ()):
        if key == _DETAILS_KEY:
            try:
                return status_pb2.ItemStatus.FromString(value)
            except DecodeError:
                break
    return status_pb2.ItemStatus()


def _unpacked(detail: Any) -> _Detail | None:
    """The detail as our mirror of google.rpc's message; None for kinds we do not read, and for garbage."""
    kind = _DETAILS.get(detail.type_url.rpartition("/")[2])
    if kind is None:
        return None
    try:
        return kind.FromString(detail.value)
    except DecodeError:
        return None
