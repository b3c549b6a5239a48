"""What each policy decides, which guard says so, and what those in shadow would do."""

from __future__ import annotations

from helm.monitoring.panels import REPLICAS, About, Query, Row, bars, lines, rows

_TEXTS = f'wardgate_requests_total{{{REPLICAS},policy=~"$policy"'
_FOUND = 'result=~"flagged|redacted|replaced|regenerated|escalated|blocked|would_.+"'

ROW = Row(
    "Policy",
    [
        lines(
            About("Action by policy", "Texts a second that were not simply allowed, by policy and side."),
            Query(
                f'sum by (policy, stage, action) (rate({_TEXTS},action!="allow"}}[$__rate_interval]))',
                "{{policy}} {{stage}}: {{action}}",
            ),
            stacked=True,
        ),
        lines(
            About("Withheld, by policy", "Share of a policy's texts that were blocked, replaced or escalated.",
                  ["WardgateBlockRateChanged"]),
            Query(
                f'sum by (policy, stage) (rate({_TEXTS},action=~"block|replace|escalate"}}[$__rate_interval]))'
                f" / sum by (policy, stage) (rate({_TEXTS}}}[$__rate_interval]))",
                "{{policy}} {{stage}}",
            ),
            unit="percentunit",
        ),
        lines(
            About("Would have", "What guards and policies in shadow would have done otherwise, in texts a second."),
            Query(
                "sum by (policy, stage, action)"
                f' (rate(wardgate_shadow_actions_total{{{REPLICAS},policy=~"$policy"}}[$__rate_interval]))',
                "{{policy}} {{stage}}: {{action}}",
            ),
        ),
        bars(
            About("Guards that found most", "Findings over the time shown, by what the guard did; `would_` in shadow.",
                  height=8),
            Query(
                "topk(12, sum by (guard, result)"
                f" (increase(wardgate_guard_evaluations_total{{{REPLICAS},{_FOUND}}}[$__range])))",
                "{{guard}}: {{result}}",
            ),
        ),
        lines(
            About("Why not allowed", "Texts a second by cause: the policy, a failed guard, a text not scored whole.",
                  ["WardgateFailClosed", "WardgateIncompleteCoverage"], height=8),
            Query(
                f'sum by (cause) (rate({_TEXTS},action!="allow"}}[$__rate_interval]))',
                "{{cause}}",
            ),
            stacked=True,
        ),
        lines(
            About("Time of a guard, p95", "One guard on one text, its wait for scores included.", height=8),
            Query(
                "histogram_quantile(0.95, sum by (guard, le)"
                f" (rate(wardgate_guard_evaluation_duration_seconds_bucket{{{REPLICAS}}}[$__rate_interval])))",
                "{{guard}}",
            ),
            unit="s",
        ),
        rows(
            About("Policies in force", "By digest of the file, with the number of replicas.", ["WardgatePolicyRefused"],
                  width=12),
            Query(
                f'count by (policy, version, digest) (wardgate_policy_info{{{REPLICAS},policy=~"$policy"}})', "replicas"
            ),
        ),
        lines(
            About("Failures of guards", "Evaluations a second that ended in an error or ran out of time.",
                  ["WardgateFailOpen", "WardgateFailClosed"], width=12),
            Query(
                "sum by (guard, result)"
                f' (rate(wardgate_guard_evaluations_total{{{REPLICAS},result=~"error|timeout"}}[$__rate_interval]))',
                "{{guard}}: {{result}}",
            ),
        ),
    ],
    folded=False,
)  # fmt: skip
