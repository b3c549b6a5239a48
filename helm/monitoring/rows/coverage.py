"""How long the texts are, whether all of each was scored, and in which scripts they are written."""

from __future__ import annotations

from helm.monitoring.panels import REPLICAS, About, Query, Row, lines

_LENGTHS = f"sum by (stage, le) (rate(wardgate_input_tokens_bucket{{{REPLICAS}}}[$__rate_interval]))"
_WINDOWS = f"sum by (le) (rate(wardgate_windows_bucket{{{REPLICAS}}}[$__rate_interval]))"

ROW = Row(
    "Coverage and language",
    [
        lines(
            About("Tokens of a text", "By side.", width=6),
            *(Query(f"histogram_quantile({q}, {_LENGTHS})", f"{{{{stage}}}} p{q * 100:g}") for q in (0.5, 0.95)),
        ),
        lines(
            About("Windows of a text", "More than `scoring.max_windows` leave a text's coverage incomplete.", width=6),
            *(Query(f"histogram_quantile({q}, {_WINDOWS})", f"p{q * 100:g}") for q in (0.5, 0.99)),
        ),
        lines(
            About("Not scored whole", "Texts by reason, and tokens never scored, over the time of a point.",
                  ["WardgateIncompleteCoverage"], width=6),
            Query(
                f"sum by (reason) (increase(wardgate_incomplete_coverage_total{{{REPLICAS}}}[$__rate_interval]))",
                "texts: {{reason}}",
            ),
            Query(f"sum(increase(wardgate_unscored_tokens_total{{{REPLICAS}}}[$__rate_interval]))", "tokens"),
        ),
        lines(
            About("Scripts", "Share of requests by the script of most letters, a stand-in for language.", width=6),
            Query(
                "sum by (lang)"
                f" (rate(wardgate_requests_by_language_total{{{REPLICAS}}}[$__rate_interval])) / ignoring (lang)"
                f" group_left () sum(rate(wardgate_requests_by_language_total{{{REPLICAS}}}[$__rate_interval]))",
                "{{lang}}",
            ),
            unit="percentunit", stacked=True, most=1,
        ),
    ],
)  # fmt: skip
