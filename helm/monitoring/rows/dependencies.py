"""The wrapped model, and how calls end."""

from __future__ import annotations

from helm.monitoring.panels import AMBER, GREEN, REPLICAS, About, Query, Row, lines, states

_MODEL = f'{REPLICAS},model=~"$wrapped"'

ROW = Row(
    "Dependencies",
    [
        lines(
            About("Time in the wrapped model", "All attempts of a request together.", ["WardgateUpstreamFails"]),
            *(
                Query(
                    f"histogram_quantile({q}, sum by (model, le)"
                    f" (rate(wardgate_generate_duration_seconds_bucket{{{_MODEL}}}[$__rate_interval])))",
                    f"{{{{model}}}} p{q * 100:g}",
                )
                for q in (0.5, 0.95, 0.99)
            ),
            unit="s",
        ),
        lines(
            About("Failures of the wrapped model", "A second, by kind.", ["WardgateUpstreamFails"]),
            Query(f"sum by (kind) (rate(wardgate_backend_errors_total{{{REPLICAS}}}[$__rate_interval])) > 0",
                  "{{kind}}"),
            stacked=True,
        ),
        lines(
            About("Tokens of the wrapped model", "A second."),
            Query(f"sum by (model, kind) (rate(wardgate_model_tokens_total{{{_MODEL}}}[$__rate_interval]))",
                  "{{model}}: {{kind}}"),
        ),
        lines(
            About("How calls end", "RPCs a second by gRPC code; a block is OK.", ["WardgateRefusing"]),
            Query(f"sum by (grpc_code) (rate(grpc_server_handled_total{{{REPLICAS}}}[$__rate_interval]))",
                  "{{grpc_code}}"),
            stacked=True,
        ),
        lines(
            About("Time of a call, p95", "By method, all of the server's work."),
            Query(
                "histogram_quantile(0.95, sum by (grpc_method, le)"
                f" (rate(grpc_server_handling_seconds_bucket{{{REPLICAS}}}[$__rate_interval])))",
                "{{grpc_method}}",
            ),
            unit="s",
        ),
        states(
            About("Components", "Whether each can serve, on the worst replica. `upstream` is the wrapped model.",
                  ["WardgateNotReady", "WardgateUpstreamDown"]),
            Query(f"min by (component) (wardgate_component_ready{{{REPLICAS}}})", "{{component}}"),
            words={"0": ("down", AMBER), "1": ("ready", GREEN)},
        ),
    ],
)  # fmt: skip
