"""The caller's side of Wardgate: `Client`, `AsyncClient` and what they raise."""

from wardgate.channel import TLS
from wardgate.client import AsyncClient, Client
from wardgate.decisions import decision_allows, decision_redacts
from wardgate.errors import Violation, WardgateError
from wardgate.requests import check_request, explain_request, generate_request

__all__ = [
    "TLS",
    "AsyncClient",
    "Client",
    "Violation",
    "WardgateError",
    "check_request",
    "decision_allows",
    "decision_redacts",
    "explain_request",
    "generate_request",
]
