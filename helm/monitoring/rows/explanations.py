"""Who asked why, how long the answer took, and whether it is better than chance."""

from __future__ import annotations

from helm.monitoring.panels import REPLICAS, About, Query, Row, lines

ROW = Row(
    "Explanations",
    [
        lines(
            About("Explanations", "A second, by how they ended.", ["WardgateExplanationsFail"], width=6),
            Query(f"sum by (result) (rate(wardgate_explanations_total{{{REPLICAS}}}[$__rate_interval]))", "{{result}}"),
            stacked=True,
        ),
        lines(
            About("Time of an explanation, p95", "By method, its wait in the line aside.", width=6),
            Query(
                "histogram_quantile(0.95, sum by (method, le)"
                f" (rate(wardgate_explanation_duration_seconds_bucket{{{REPLICAS}}}[$__rate_interval])))",
                "{{method}}",
            ),
            unit="s",
        ),
        lines(
            About(
                "Faithfulness, median", "Comprehensiveness: higher is better. Sufficiency: lower is better.", width=6
            ),
            # By buckets: a histogram that goes below zero has no sum.
            Query(
                "histogram_quantile(0.5, sum by (method, metric, le)"
                f" (rate(wardgate_explanation_faithfulness_bucket{{{REPLICAS}}}[$__rate_interval])))",
                "{{method}}: {{metric}}",
            ),
            signed=True,
        ),
        lines(
            About("Explanations that wait", "Beyond `explanations.max_waiting` they are refused.", width=6),
            Query(f"sum by (instance) (wardgate_explanation_queue_depth{{{REPLICAS}}})", "{{instance}}"),
        ),
    ],
)
