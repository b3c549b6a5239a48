"""What a refused call tells its caller, decoded as a caller would."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from typing import TypeVar, cast

import grpc
from google.protobuf.any_pb2 import Any as AnyProto
from google.protobuf.message import Message as ProtoMessage
from google.rpc import error_details_pb2, status_pb2

_KINDS = ("ErrorInfo", "BadRequest", "ResourceInfo", "PreconditionFailure", "RetryInfo")
D = TypeVar("D", bound=ProtoMessage)


@dataclass(frozen=True)
class Refusal:
    """`everything` is all that reached the caller, for searching."""

    code: grpc.StatusCode
    message: str
    details: tuple[ProtoMessage, ...]
    everything: str

    @property
    def reason(self) -> str:
        return str(self.detail(error_details_pb2.ErrorInfo).reason)

    @property
    def fields(self) -> list[str]:
        return [violation.field for violation in self.detail(error_details_pb2.BadRequest).field_violations]

    def detail(self, kind: type[D]) -> D:
        (found,) = [detail for detail in self.details if isinstance(detail, kind)]
        return found


async def refusal(call: Awaitable[object]) -> Refusal:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return _decoded(error)
    raise AssertionError("the call was not refused")


def _decoded(error: grpc.aio.AioRpcError) -> Refusal:
    # Pairs, whatever the stubs call them.
    trailers = list(cast("Iterable[tuple[str, str | bytes]]", error.trailing_metadata() or ()))
    details: list[ProtoMessage] = []
    for key, value in trailers:
        if key == "grpc-status-details-bin":
            assert isinstance(value, bytes)
            status = status_pb2.Status.FromString(value)
            assert (status.code, status.message) == (error.code().value[0], error.details())
            details += [_unpacked(packed) for packed in status.details]
    message = error.details() or ""
    return Refusal(error.code(), message, tuple(details), f"{message} {trailers!r} {details!r}")


def _unpacked(packed: AnyProto) -> ProtoMessage:
    for kind in _KINDS:
        detail: ProtoMessage = getattr(error_details_pb2, kind)()
        if packed.Unpack(detail):
            return detail
    raise AssertionError(f"unknown detail {packed.type_url}")
