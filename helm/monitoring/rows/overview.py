"""The first look: is it up, what does it cost, what does it decide, and does anything pass unjudged?"""

from __future__ import annotations

from helm.monitoring.panels import AMBER, GREEN, RED, REPLICAS, About, Query, Row, figure, lines, names

_ADDED = f"sum by (le) (rate(wardgate_added_latency_seconds_bucket{{{REPLICAS}}}[$__rate_interval]))"
_REFUSED = 'reason=~"overloaded|unavailable|deadline_exceeded|internal|scoring|backend"'

ROW = Row(
    "Overview",
    [
        figure(
            About(
                "Passed unjudged",
                "Texts that passed although a guard failed, over the time shown: `on_error: open` in a policy. "
                "Anything but 0 is an incident.",
                ["WardgateFailOpen"],
                width=5,
                height=5,
            ),
            Query(f"sum(increase(wardgate_fail_open_total{{{REPLICAS}}}[$__range]))"),
            limits=[(0.5, RED)],
        ).decimals(0),
        figure(
            About("Ready", "Whether every replica takes traffic.", ["WardgateNotReady"], width=3, height=5),
            Query(f'min(wardgate_component_ready{{{REPLICAS},component="service"}})'),
            limits=[(0.5, GREEN)],
            words={"0": ("not all", RED), "1": ("all", GREEN)},
        ),
        figure(
            About("Requests", "Checks and generations that ended, a second.", width=4, height=5),
            Query(f"sum(rate(wardgate_request_duration_seconds_count{{{REPLICAS}}}[$__rate_interval]))"),
            "reqps",
        ),
        figure(
            About("Withheld", "Share of texts that were blocked, replaced or escalated.", ["WardgateBlockRateChanged"],
                  width=4, height=5),
            Query(
                f'sum(rate(wardgate_requests_total{{{REPLICAS},policy=~"$policy",action=~"block|replace|escalate"}}'
                "[$__rate_interval]))"
                f' / sum(rate(wardgate_requests_total{{{REPLICAS},policy=~"$policy"}}[$__rate_interval]))'
            ),
            "percentunit",
        ),
        figure(
            About("Added latency, p99", "What the guardrail costs: inside the server, the wrapped model's time aside.",
                  ["WardgateLatencyBudgetBurnsFast", "WardgateLatencyBudgetBurns"], width=4, height=5),
            Query(f"histogram_quantile(0.99, {_ADDED})"),
            "s",
            limits=[(0.25, AMBER), (1, RED)],
        ),
        figure(
            About("Refused or failed", "Share of calls that ended without a decision, and not by the caller's fault.",
                  ["WardgateRefusing", "WardgateOverloaded"], width=4, height=5),
            Query(
                f"sum(rate(wardgate_rejections_total{{{REPLICAS},{_REFUSED}}}[$__rate_interval]))"
                f" / sum(rate(grpc_server_handled_total{{{REPLICAS},"
                'grpc_service="wardgate.v1.GuardrailService"}[$__rate_interval]))'
            ),
            "percentunit",
            limits=[(0.01, AMBER), (0.05, RED)],
        ),
        lines(
            About("What was decided", "Texts a second, by action; a request and each response count one each."),
            Query(
                f'sum by (action) (rate(wardgate_requests_total{{{REPLICAS},policy=~"$policy"}}[$__rate_interval]))',
                "{{action}}",
            ),
            stacked=True,
        ),
        lines(
            About("Added latency", "Inside the server, the wrapped model's time aside; Check and Generate together.",
                  ["WardgateLatencyBudgetBurnsFast"]),
            *(Query(f"histogram_quantile({q}, {_ADDED})", f"p{q * 100:g}") for q in (0.5, 0.95, 0.99)),
            unit="s",
            limits=[(0.25, RED)],
        ),
        lines(
            About("Guards that failed", "Texts that passed (open) or were withheld (closed) because a guard failed.",
                  ["WardgateFailOpen", "WardgateFailClosed"]),
            Query(f"sum(increase(wardgate_fail_open_total{{{REPLICAS}}}[$__rate_interval]))", "open"),
            Query(f"sum(increase(wardgate_fail_closed_total{{{REPLICAS}}}[$__rate_interval]))", "closed"),
        ),
        names(
            About("Versions", "Of the program, with the number of replicas.", width=6, height=4),
            Query(f"count by (version) (wardgate_build_info{{{REPLICAS}}})", "{{version}}"),
        ),
        names(
            About("Active reward model", "Several while replicas differ.", ["WardgateCanaryDecidesOtherwise"], width=6,
                  height=4),
            Query(
                f'count by (version, digest) (wardgate_reward_model_info{{{REPLICAS},role="active"}})', "{{version}}"
            ),
        ),
        names(
            About("Policies in force", "Name and version.", ["WardgatePolicyRefused"], width=6, height=4),
            Query(
                f'count by (policy, version) (wardgate_policy_info{{{REPLICAS},policy=~"$policy"}})',
                "{{policy}} {{version}}",
            ),
        ),
        figure(
            About("Policy files", "Whether a policy or calibration file is refused while the one before serves.",
                  ["WardgatePolicyRefused"], width=6, height=4),
            Query(f"min(wardgate_policy_files_valid{{{REPLICAS}}})"),
            limits=[(0.5, GREEN)],
            words={"0": ("refused", RED), "1": ("valid", GREEN)},
        ),
    ],
    folded=False,
)  # fmt: skip
