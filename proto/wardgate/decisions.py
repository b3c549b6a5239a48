"""Reading a verdict."""

from __future__ import annotations

from wardgate.v1 import decision_pb2, guardrail_pb2

Verdict = guardrail_pb2.CheckResponse | guardrail_pb2.CandidateResult | guardrail_pb2.GenerateResponse

_PASSES = (decision_pb2.ACTION_ALLOW, decision_pb2.ACTION_FLAG)


def decision_allows(verdict: Verdict) -> bool:
    """Whether what you hold may go out as it is: for a check the text you sent, for a generation `message`.

    False for a check that asks for redaction: send the redacted text instead. An answer without a decision does not
    allow. True for whatever a policy in shadow would have withheld.
    """
    decision = verdict.decision
    if decision.action in _PASSES:
        return True
    if decision.action == decision_pb2.ACTION_REDACT and isinstance(verdict, guardrail_pb2.GenerateResponse):
        return True  # `message` is the redacted one
    return _in_shadow(decision)


def decision_redacts(verdict: Verdict) -> bool:
    """Whether it may go out only with the redactions that the verdict brings."""
    return verdict.decision.action == decision_pb2.ACTION_REDACT and not _in_shadow(verdict.decision)


def _in_shadow(decision: decision_pb2.Decision) -> bool:
    return (
        decision.action != decision_pb2.ACTION_UNSPECIFIED and decision.enforcement == decision_pb2.ENFORCEMENT_SHADOW
    )
