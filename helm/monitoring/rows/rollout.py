"""Versions of the reward model: who decides how much, and what shadow and canary do otherwise."""

from __future__ import annotations

from helm.monitoring.panels import RED, REPLICAS, About, Query, Row, lines, rows

_SCORED = f"wardgate_scored_requests_total{{{REPLICAS}"
_WITHHELD = 'action=~"block|replace|escalate"'
_COMPARED = 'result=~"agreed|disagreed"'

ROW = Row(
    "Rollout",
    [
        lines(
            About("Who decides", "Requests a second, by version and role."),
            Query(f"sum by (version, role) (rate({_SCORED}}}[$__rate_interval]))", "{{version}} ({{role}})"),
            stacked=True,
        ),
        lines(
            About("Withheld, by version", "Share of requests; a canary's should be that of the active version.",
                  ["WardgateCanaryDecidesOtherwise"]),
            Query(
                f"sum by (version, role) (rate({_SCORED},{_WITHHELD}}}[$__rate_interval]))"
                f" / sum by (version, role) (rate({_SCORED}}}[$__rate_interval]))",
                "{{version}} ({{role}})",
            ),
            unit="percentunit",
        ),
        lines(
            About("Shadow disagrees", "Share of the texts compared that a shadow version would have decided otherwise.",
                  ["WardgateShadowDisagrees"]),
            Query(
                "sum by (version, direction)"
                f" (rate(wardgate_shadow_disagreements_total{{{REPLICAS}}}[$__rate_interval]))"
                " / on (version) group_left () sum by (version)"
                f" (rate(wardgate_shadow_evaluations_total{{{REPLICAS},{_COMPARED}}}[$__rate_interval]))",
                "{{version}}: {{direction}}",
            ),
            unit="percentunit", limits=[(0.05, RED)],
        ),
        lines(
            About("Shadow at work", "Texts a second by result; what is too much is dropped."),
            Query(
                "sum by (version, result)"
                f" (rate(wardgate_shadow_evaluations_total{{{REPLICAS}}}[$__rate_interval])) > 0",
                "{{version}}: {{result}}",
            ),
            stacked=True,
        ),
        rows(
            About("Versions in use", "With role, share of requests, and number of replicas."),
            Query(f"count by (role, version, digest) (wardgate_reward_model_info{{{REPLICAS}}})", "replicas"),
            Query(
                f"max by (role, version, digest) (wardgate_rollout_weight{{{REPLICAS}}} * on (job, instance, digest)"
                f" group_left (role) wardgate_reward_model_info{{{REPLICAS}}})",
                "share",
            ),
        ),
        lines(
            About("Changes", "Calls that would change the rollout, over the time of a point."),
            Query(
                f"sum by (result) (increase(wardgate_rollout_changes_total{{{REPLICAS}}}[$__rate_interval]))",
                "{{result}}",
            ),
        ),
    ],
)  # fmt: skip
