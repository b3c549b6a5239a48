"""From findings to a decision. Pure: the same results give the same decision.

The strongest action wins. A guard that failed closed withholds, but a policy's own verdict of the
same strength is named as the cause, so that a block is never mistaken for an outage.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from guards.policy import Policy
from guards.types import Action, Cause, Coverage, Decision, Enforcement, FailMode, Finding, GuardResult, Span

ALLOWED = "allowed"
INCOMPLETE = "incomplete-coverage"
REGENERATIONS_SPENT = "regenerations-spent"


@dataclass(frozen=True, slots=True)
class _Ground:
    """One reason for an action."""

    action: Action
    cause: Cause
    reason_code: str


def decide(policy: Policy, results: Sequence[GuardResult], coverage: Coverage, locale: str) -> Decision:
    """What `policy` makes of the guards' results on one text."""
    enforced = [result for result in results if result.enforcement is Enforcement.ENFORCED]
    ground = _strongest(policy, enforced, coverage)
    would = _strongest(policy, results, coverage)
    findings = tuple(sorted((f for r in results for f in r.findings), key=lambda f: (-f.action, -f.risk, f.rule)))
    if policy.enforcement is Enforcement.SHADOW:
        return Decision(Action.ALLOW, would.action, Enforcement.SHADOW, would.cause, would.reason_code, "", findings)
    return Decision(
        action=ground.action,
        would_action=would.action,
        enforcement=Enforcement.ENFORCED,
        cause=ground.cause,
        reason_code=ground.reason_code,
        safe_message=policy.safe_message(locale) if ground.action.withholds else "",
        findings=findings,
        redactions=_redactions(enforced) if ground.action is Action.REDACT else (),
    )


def combine(decisions: Sequence[Decision]) -> Decision:
    """One decision over several texts of an exchange: the strongest, with everybody's findings."""
    strongest = max(decisions, key=lambda d: (d.action, d.cause is Cause.POLICY, d.would_action))
    would = max(decision.would_action for decision in decisions)
    findings = sorted((f for d in decisions for f in d.findings), key=lambda f: (-f.action, -f.risk, f.rule))
    return replace(strongest, would_action=would, findings=tuple(findings))


def only_redactions(results: Sequence[GuardResult]) -> tuple[GuardResult, ...]:
    """The results without findings that ask for anything but a redaction."""
    return tuple(
        replace(result, findings=tuple(finding for finding in result.findings if finding.action is Action.REDACT))
        for result in results
    )


def merge_redactions(first: Decision, second: Decision) -> Decision:
    """One decision over different messages of one conversation, with the redactions of both."""
    merged = combine([first, second])
    if merged.action is not Action.REDACT:
        return merged
    both = sorted((*first.redactions, *second.redactions), key=lambda r: (r[0].message, r[0].part, r[0].start))
    return replace(merged, redactions=tuple(both))


def block_instead(decision: Decision, reason_code: str, safe_message: str) -> Decision:
    """The same verdict when what it asked for can no longer be done."""
    return replace(
        decision,
        action=Action.BLOCK,
        would_action=Action.BLOCK,
        reason_code=reason_code,
        safe_message=safe_message,
    )


def _strongest(policy: Policy, results: Sequence[GuardResult], coverage: Coverage) -> _Ground:
    grounds = [_Ground(Action.ALLOW, Cause.POLICY, ALLOWED)]
    for result in results:
        grounds += [_Ground(_effective(finding), Cause.POLICY, finding.rule) for finding in result.findings]
        if result.fail_mode_applied is FailMode.CLOSED:
            grounds.append(_Ground(Action.BLOCK, Cause.GUARD_FAILURE, f"{result.guard}-failed"))
    if not coverage.complete and _use_scores(policy, results):
        grounds.append(_Ground(policy.incomplete, Cause.INCOMPLETE_COVERAGE, INCOMPLETE))
    return max(grounds, key=lambda ground: (ground.action, ground.cause is Cause.POLICY))


def _use_scores(policy: Policy, results: Iterable[GuardResult]) -> bool:
    """Whether any of the guards judges by scores; to the others it is all one what was scored."""
    return any(
        member.guard.uses_scores
        for result in results
        for member in policy.guards(result.stage)
        if member.guard.name == result.guard
    )


def _effective(finding: Finding) -> Action:
    """A redaction that cannot say where is no redaction: the content is withheld."""
    return Action.BLOCK if finding.action is Action.REDACT and not finding.spans else finding.action


def _redactions(results: Iterable[GuardResult]) -> tuple[tuple[Span, str], ...]:
    """Disjoint spans with what to write over them, in reading order.

    Overlapping findings become one span, from the first start to the last end, under the earlier
    finding's replacement: nothing that any guard wanted gone survives.
    """
    wanted = [
        (span, finding)
        for result in results
        for finding in result.findings
        if finding.action is Action.REDACT
        for span in finding.spans
    ]
    merged: list[tuple[Span, str]] = []
    for span, finding in sorted(wanted, key=lambda item: (item[0].message, item[0].part, item[0].start, -item[0].end)):
        last = merged[-1][0] if merged else None
        if last and (last.message, last.part) == (span.message, span.part) and span.start < last.end:
            merged[-1] = (replace(last, end=max(last.end, span.end)), merged[-1][1])
        else:
            merged.append((span, finding.replacement or replacement_for(finding)))
    return tuple(merged)


def replacement_for(finding: Finding) -> str:
    """What stands for a redacted text when the guard names nothing."""
    return f"[{finding.category.upper()}]"
