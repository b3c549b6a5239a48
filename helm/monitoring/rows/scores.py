"""What the heads say, where the thresholds stand among it, and how good the calibrations are."""

from __future__ import annotations

from helm.monitoring.panels import (
    AMBER,
    GREEN,
    RED,
    REPLICAS,
    About,
    PanelBuilder,
    Query,
    Row,
    faint,
    heat,
    lines,
    rows,
)

_DAY_S = 86400


def _risk(side: str) -> str:
    return f'wardgate_risk_score_bucket{{{REPLICAS},policy=~"$policy",stage="{side}"}}'


def _against_thresholds(side: str) -> list[Query]:
    """Quantiles of one side's risks, and the thresholds of the heads that judge that side."""
    risks = f"sum by (head, le) (rate({_risk(side)}[$__rate_interval]))"
    judging = f'sum by (policy, head) (wardgate_risk_score_count{{{REPLICAS},stage="{side}"}})'
    thresholds = (
        f'max by (policy, head, action) (wardgate_threshold{{{REPLICAS},policy=~"$policy"}})'
        f" and on (policy, head) {judging}"
    )
    return [
        *(Query(f"histogram_quantile({q}, {risks})", f"{{{{head}}}} p{q * 100:g}") for q in (0.5, 0.95, 0.99)),
        Query(thresholds, "threshold {{policy}}: {{action}}"),
    ]


def _heat(side: str) -> str:
    return f"sum by (le) (increase({_risk(side)}[$__rate_interval]))"


def _risks(side: str) -> tuple[PanelBuilder, PanelBuilder]:
    """What the texts of one side scored, and how that lies to the thresholds."""
    against = lines(
        About(f"Risk of {side}s against thresholds", "From a threshold on, the action applies.", width=6),
        *_against_thresholds(side),
        most=1,
    )
    return (
        heat(About(f"Risk of {side}s", "How many texts had which calibrated P(unsafe).", width=6), _heat(side)),
        faint(against, "^threshold.*"),
    )


ROW = Row(
    "Scores",
    [
        *_risks("request"),
        *_risks("response"),
        lines(
            About("Reward", "Median of the raw reward, higher is better; a step is another model or other traffic.",
                  width=6),
            Query(
                "histogram_quantile(0.5, sum by (model, stage, le)"
                f' (rate(wardgate_reward_bucket{{{REPLICAS},model=~"$model"}}[$__rate_interval])))',
                "{{model}} {{stage}}",
            ),
            signed=True,
        ),
        lines(
            About("Bound of false blocks", "Upper confidence bound of a calibrated guard, and the rate it aims at.",
                  ["WardgateCalibrationExpired"], width=6),
            Query(
                f'max by (policy, guard) (wardgate_risk_upper_bound{{{REPLICAS},policy=~"$policy"}})',
                "{{policy}} {{guard}}, bound",
            ),
            Query(
                f'max by (policy, guard) (wardgate_risk_target{{{REPLICAS},policy=~"$policy"}})',
                "{{policy}} {{guard}}, target",
            ),
            unit="percentunit",
        ),
        lines(
            About("Calibrations: days left", "Until a calibration is void; then its guard fails, or warns.",
                  ["WardgateCalibrationExpires", "WardgateCalibrationExpired"], width=6),
            Query(
                "min by (calibration, model)"
                f" (wardgate_calibration_expires_timestamp_seconds{{{REPLICAS}}} - time()) / {_DAY_S}",
                "{{calibration}} {{model}}",
            ),
            signed=True,
            limits=[(0, RED), (14, AMBER), (14.01, GREEN)],
        ),
        rows(
            About("Calibrations", "Age in days, texts calibrated on, and calibration error where rows were labelled.",
                  ["WardgateCalibrationExpired"], width=6),
            Query(
                f"(time() - max by (calibration, model) (wardgate_calibration_timestamp_seconds{{{REPLICAS}}}))"
                f" / {_DAY_S}",
                "days old",
            ),
            Query(f"max by (calibration, model) (wardgate_calibration_samples{{{REPLICAS}}})", "texts"),
            Query(f"max by (calibration, model) (wardgate_calibration_error{{{REPLICAS}}})", "error"),
        ),
    ],
)  # fmt: skip
