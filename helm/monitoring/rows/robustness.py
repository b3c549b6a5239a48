"""How easily the guard is fooled, as the last runs of the probes found; more in the dashboard of the probes."""

from __future__ import annotations

from helm.monitoring.panels import RED, REPLICAS, About, Query, Row, faint, lines, rows

_LIMITS = {"attack": 0.5, "benign": 0.1}  # those of the alerts


def ratios(kind: str, by: str = "suite, category", matching: str = "") -> list[Query]:
    """The ratio of one kind with the ends of its 95% interval."""
    at = f'{REPLICAS},suite=~"$suite",kind="{kind}"{matching}'
    legend = "{{category}}" if "category" in by else "ratio"
    return [
        Query(f"max by ({by}) (wardgate_probe_success_ratio{{{at}}})", legend),
        Query(f"max by ({by}) (wardgate_probe_ratio_lower{{{at}}})", f"{legend}, lower"),
        Query(f"max by ({by}) (wardgate_probe_ratio_upper{{{at}}})", f"{legend}, upper"),
    ]


def staleness(width: int) -> About:
    return About(
        "Since the last run", "That was done. Over two intervals of its schedule is stale.",
        ["WardgateProbesStale", "WardgateProbeRunFailed"], width=width,
    )  # fmt: skip


STALENESS = (
    Query(
        f'time() - max by (suite) (wardgate_probe_last_success_timestamp_seconds{{{REPLICAS},suite=~"$suite"}})',
        "{{suite}}",
    ),
    Query(
        f'2 * max by (suite) (wardgate_probe_interval_seconds{{{REPLICAS},suite=~"$suite"}})',
        "{{suite}}, two intervals",
    ),
)

ROW = Row(
    "Robustness",
    [
        faint(
            lines(
                About("Attacks that got through", "Share by category, with the ends of the 95% interval.",
                      ["WardgateAttacksGetThrough", "WardgateRobustnessFell"]),
                *ratios("attack"), unit="percentunit", most=1, limits=[(_LIMITS["attack"], RED)],
            ),
            ".*, (lower|upper)",
        ),
        faint(
            lines(
                About("Harmless use that was hurt", "Share by category, with the ends of the 95% interval.",
                      ["WardgateHarmlessUseHurt"]),
                *ratios("benign"), unit="percentunit", limits=[(_LIMITS["benign"], RED)],
            ),
            ".*, (lower|upper)",
        ),
        lines(staleness(8), *STALENESS, unit="s"),
        rows(
            About("The last runs", "Ratio, interval, and evidence (ln) that it is over what is tolerated: 4.6 is 1 %.",
                  ["WardgateAttacksGetThrough"], width=16),
            *(
                Query(
                    f'max by (suite, category, kind) (wardgate_probe_{name}{{{REPLICAS},suite=~"$suite"}})', legend
                )
                for name, legend in (
                    ("success_ratio", "ratio"), ("ratio_lower", "lower"), ("ratio_upper", "upper"),
                    ("log_evidence", "evidence"),
                )
            ),
        ),
        lines(
            About("Runs and what they cost", "Runs that ended over the time of a point, and cores that probes took.",
                  ["WardgateProbeRunFailed"]),
            Query(
                "sum by (suite, result)"
                f' (increase(wardgate_probe_runs_total{{{REPLICAS},suite=~"$suite"}}[$__rate_interval]))',
                "{{suite}}: {{result}}",
            ),
            Query(f"sum(rate(wardgate_probe_budget_seconds_total{{{REPLICAS}}}[$__rate_interval]))", "cores"),
            Query(f"sum(rate(wardgate_probe_preemptions_total{{{REPLICAS}}}[$__rate_interval]))", "stops a second"),
        ),
    ],
)  # fmt: skip
