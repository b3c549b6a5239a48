"""Whether traffic still looks like what the calibrations were made for."""

from __future__ import annotations

from helm.monitoring.panels import GREEN, RED, REPLICAS, About, Query, Row, lines, states

_AT = f'{REPLICAS},policy=~"$policy"'

ROW = Row(
    "Drift",
    [
        states(
            About("Alarms", "By what is compared; one is raised by a window that differs, cleared by two that do not.",
                  ["WardgateTrafficDrifted"]),
            Query(f"max by (policy, calibration, feature) (wardgate_drift_alarm{{{_AT}}})",
                  "{{policy}} {{calibration}}: {{feature}}"),
            words={"0": ("alike", GREEN), "1": ("drifted", RED)},
        ),
        lines(
            About("Distance (PSI)", "Of the last full window from its calibration: 0.1 is little, 0.25 a lot.",
                  ["WardgateTrafficDrifted"]),
            Query(f'max by (policy, calibration, feature) (wardgate_drift_statistic{{{_AT},test="psi"}})',
                  "{{policy}} {{calibration}}: {{feature}}"),
        ),
        lines(
            About("Chance (p value)", "Of so large a distance while nothing has changed."),
            Query(f'min by (policy, calibration, feature) (wardgate_drift_statistic{{{_AT},test="p_value"}})',
                  "{{policy}} {{calibration}}: {{feature}}"),
            most=1,
        ),
        lines(
            About("Texts in the window", "That is filling; full at `calibrations.drift_window`.", width=12),
            Query(f"max by (policy, calibration, instance) (wardgate_drift_window_samples{{{_AT}}})",
                  "{{policy}} {{calibration}}"),
        ),
        lines(
            About("Windows compared", "Over the time of a point, by result.", width=12),
            Query(f"sum by (policy, calibration, result) (increase(wardgate_drift_windows_total{{{_AT}}}"
                  "[$__rate_interval]))", "{{policy}} {{calibration}}: {{result}}"),
        ),
    ],
)  # fmt: skip
