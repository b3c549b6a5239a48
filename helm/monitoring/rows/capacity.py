"""How much more it can take: queues, batches, refusals, the machine."""

from __future__ import annotations

from helm.monitoring.panels import RED, REPLICAS, About, Query, Row, lines


def _mean(histogram: str) -> str:
    return (
        f"sum(rate({histogram}_sum{{{REPLICAS}}}[$__rate_interval]))"
        f" / sum(rate({histogram}_count{{{REPLICAS}}}[$__rate_interval]))"
    )


def _quantile(quantile: float, histogram: str) -> str:
    return f"histogram_quantile({quantile}, sum by (le) (rate({histogram}_bucket{{{REPLICAS}}}[$__rate_interval])))"


ROW = Row(
    "Capacity",
    [
        lines(
            About("Queues", "Requests at work and waiting for a place, windows waiting for a forward: the signal to "
                  "scale on.", ["WardgateOverloaded"]),
            Query(f"sum(wardgate_inflight_requests{{{REPLICAS}}})", "at work"),
            Query(f"sum(wardgate_waiting_requests{{{REPLICAS}}})", "waiting"),
            Query(f"sum(wardgate_queue_depth{{{REPLICAS}}})", "windows waiting"),
        ),
        lines(
            About("Refused or failed", "Calls a second that ended without a decision, by reason.",
                  ["WardgateOverloaded", "WardgateRefusing", "WardgateInternalErrors"]),
            Query(f"sum by (reason) (rate(wardgate_rejections_total{{{REPLICAS}}}[$__rate_interval])) > 0",
                  "{{reason}}"),
            stacked=True,
        ),
        lines(
            About("Wait and forward", "Of a window: its wait for a forward, and the forward.",
                  ["WardgateLatencyBudgetBurnsFast"]),
            *(
                Query(_quantile(q, f"wardgate_{name}_seconds"), f"{legend} p{q * 100:g}")
                for name, legend in (("queue_wait", "wait"), ("forward_duration", "forward"))
                for q in (0.5, 0.99)
            ),
            unit="s",
        ),
        lines(
            About("Batches", "Mean windows and tokens of a forward."),
            Query(_mean("wardgate_batch_size"), "windows"),
            Query(_mean("wardgate_batch_tokens"), "tokens"),
        ),
        lines(
            About("Padding", "Mean share of a forward that was padding."),
            Query(_mean("wardgate_batch_padding_ratio"), "padding"),
            unit="percentunit",
        ),
        lines(
            About("Forwards", "A second, by outcome."),
            Query(f"sum by (outcome) (rate(wardgate_batches_total{{{REPLICAS}}}[$__rate_interval]))", "{{outcome}}"),
        ),
        lines(
            About("Lateness of the event loop", "What blocks it delays every caller.", ["WardgateEventLoopLate"]),
            Query(f"max by (instance) (wardgate_event_loop_lag_seconds{{{REPLICAS}}})", "{{instance}}"),
            unit="s",
            limits=[(0.2, RED)],
        ),
        lines(
            About("CPU", "Cores of the server process."),
            Query(f"sum by (instance) (rate(process_cpu_seconds_total{{{REPLICAS}}}[$__rate_interval]))",
                  "{{instance}}"),
        ),
        lines(
            About("Memory", "Resident memory of the server process; those of probes and explanations are others."),
            Query(f"sum by (instance) (process_resident_memory_bytes{{{REPLICAS}}})", "{{instance}}"),
            unit="bytes",
        ),
    ],
)  # fmt: skip
