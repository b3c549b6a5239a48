"""Every error the product raises on purpose.

WardgateError
├── InvalidInput            the caller sent something wrong; carries field violations
│   └── TooLarge            there is more text than is taken
├── MessageTooLarge         the message has more bytes than are taken
├── UnknownName             no policy, model, head or guard of that name; says which exist
├── PreconditionFailed      the name exists, but not as asked (a policy version that is gone)
├── ConfigError             a configuration or policy file is wrong; refused before serving
├── ModelError              a model is missing, damaged or does not match its manifest
│   └── NotExportable       a network has no ONNX graph that gives its numbers
├── Unauthenticated         no or wrong credentials
├── PermissionDenied        known credentials, but not for this; carries the setting that would allow it
├── Overloaded              admission refused; carries when to try again
├── DeadlineExceeded        time ran out, or too little is left
├── Unavailable             not ready, stopping, or a dependency is down
│   └── BackendError        the wrapped model failed; `kind` is one of a closed set
├── ScoringError            the forward of a batch failed
└── GuardError              a guard could not judge

`service/interceptors.py` holds the one table from these to gRPC status codes.
Messages name the thing and the mend, and never repeat the caller's text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_MOST_LISTED = 16  # names in a message, so that it fits where errors travel

BACKEND_FAULTS = (
    "unreachable", "timeout", "rate_limited", "unauthorized", "bad_request", "server_error", "bad_reply",
)  # fmt: skip
"""Every `kind` of a BackendError."""


class WardgateError(Exception):
    """The root; `reason` is a stable, low-cardinality code for metrics and ErrorInfo."""

    reason = "INTERNAL"


@dataclass(frozen=True, slots=True)
class FieldViolation:
    field: str  # a path such as "messages[0].parts[1].text"
    description: str


class InvalidInput(WardgateError):
    reason = "INVALID_INPUT"

    def __init__(self, message: str, violations: Sequence[FieldViolation] = ()) -> None:
        super().__init__(message)
        self.violations = tuple(violations)


class TooLarge(InvalidInput):
    reason = "TOO_LARGE"


class MessageTooLarge(WardgateError):
    reason = "MESSAGE_TOO_LARGE"


class UnknownName(WardgateError):
    reason = "UNKNOWN_NAME"

    def __init__(self, kind: str, name: str, known: Sequence[str]) -> None:
        listed = ", ".join(sorted(known)[:_MOST_LISTED]) or "none"
        listed += ", ..." if len(known) > _MOST_LISTED else ""
        super().__init__(f"there is no {kind} of that name; known: {listed}")
        self.kind = kind
        self.name = name
        self.known = tuple(known)


class PreconditionFailed(WardgateError):
    reason = "PRECONDITION_FAILED"

    def __init__(self, message: str, *, kind: str, subject: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.subject = subject


class ConfigError(WardgateError):
    reason = "CONFIG"


class ModelError(WardgateError):
    reason = "MODEL"


class NotExportable(ModelError):
    reason = "NOT_EXPORTABLE"


class Unauthenticated(WardgateError):
    reason = "UNAUTHENTICATED"


class PermissionDenied(WardgateError):
    reason = "PERMISSION_DENIED"

    def __init__(self, message: str, setting: str) -> None:
        super().__init__(message)
        self.setting = setting


class Overloaded(WardgateError):
    reason = "OVERLOADED"

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DeadlineExceeded(WardgateError):
    reason = "DEADLINE_EXCEEDED"


class Unavailable(WardgateError):
    reason = "UNAVAILABLE"

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class BackendError(Unavailable):
    """`kind` is one of BACKEND_FAULTS."""

    reason = "BACKEND"

    def __init__(self, message: str, kind: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message, retry_after_s)
        self.kind = kind


class ScoringError(WardgateError):
    reason = "SCORING"


class GuardError(WardgateError):
    reason = "GUARD"


def reasons(root: type[WardgateError] = WardgateError) -> frozenset[str]:
    """Every `reason` that there is."""
    return frozenset({root.reason}.union(*(reasons(kind) for kind in root.__subclasses__())))
