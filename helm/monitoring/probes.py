"""What the last runs of the probes found, in full: the second dashboard."""

from __future__ import annotations

from helm.monitoring.panels import RED, REPLICAS, About, PanelBuilder, Query, Row, band, bars, lines, rows
from helm.monitoring.rows.robustness import STALENESS, ratios, staleness

_SUITE = f'{REPLICAS},suite=~"$suite"'


def _of_a_category(kind: str, title: str, text: str, limit: float, runbooks: list[str]) -> PanelBuilder:
    """Repeated for every category, so that the interval can be a band."""
    panel = lines(
        About(f"{title}: $category", text, runbooks, width=12, height=6),
        *ratios(kind, by="suite", matching=',category=~"$category"'),
        unit="percentunit", most=1, limits=[(limit, RED)],
    )  # fmt: skip
    return band(panel, "ratio, lower", "ratio, upper").repeat("category").repeat_direction("h")


PROBES = [
    Row(
        "By category",
        [
            _of_a_category(
                "attack", "Attacks that got through", "Share, with its 95% interval. Empty: none was tried.",
                0.5, ["WardgateAttacksGetThrough", "WardgateRobustnessFell"],
            ),
            _of_a_category(
                "benign", "Harmless use that was hurt", "Share, with its 95% interval. Empty: none was tried.",
                0.1, ["WardgateHarmlessUseHurt"],
            ),
        ],
        folded=False,
    ),
    Row(
        "Runs",
        [
            lines(staleness(8), *STALENESS, unit="s"),
            lines(
                About("Evidence", "Logarithm of the evidence that the ratio is over what is tolerated, 5% of attacks "
                      "and 2% of harmless use; over 4.6 is chance in one of a hundred series.",
                      ["WardgateAttacksGetThrough"]),
                Query(f"max by (suite, category, kind) (wardgate_probe_log_evidence{{{_SUITE}}})",
                      "{{category}} ({{kind}})"),
                signed=True, limits=[(4.6, RED)],
            ),
            lines(
                About("Trials", "A second, while a run is at work."),
                Query(f"sum by (suite, kind) (rate(wardgate_probe_trials_total{{{_SUITE}}}[$__rate_interval]))",
                      "{{suite}}: {{kind}}"),
                Query(f"sum by (suite, kind) (rate(wardgate_probe_successes_total{{{_SUITE}}}[$__rate_interval]))",
                      "{{suite}}: {{kind}}, successes"),
            ),
        ],
        folded=False,
    ),
    Row(
        "Gradient attacks",
        [
            rows(
                About("Accuracy", "Of the attacked head, clean and under attack, by strength.", width=16, height=10),
                Query("max by (target, attack, norm, eps)"
                      f' (wardgate_probe_accuracy{{{_SUITE},kind="clean"}})', "clean"),
                Query("min by (target, attack, norm, eps)"
                      f' (wardgate_probe_accuracy{{{_SUITE},kind="adversarial"}})', "under attack"),
            ),
            bars(
                About("Strength that halves the accuracy", "Less is more easily fooled.", height=10),
                Query(f"min by (target, attack, norm) (wardgate_probe_eps50{{{_SUITE}}})",
                      "{{target}} {{attack}} {{norm}}"),
            ),
        ],
    ),
    Row(
        "Disguises",
        [
            bars(
                About("Attacks turned", "Share of harmful requests that pass in a disguise, the worst first.",
                      ["WardgateAttacksGetThrough"], width=12, height=12),
                Query("sort_desc(max by (perturbation, severity)"
                      f' (wardgate_probe_flip_ratio{{{_SUITE},kind="attack"}}))', "{{perturbation}} {{severity}}"),
                "percentunit",
            ),
            bars(
                About("Harmless turned", "Share of harmless requests that are withheld in a disguise, the worst first.",
                      ["WardgateHarmlessUseHurt"], width=12, height=12),
                Query("sort_desc(max by (perturbation, severity)"
                      f' (wardgate_probe_flip_ratio{{{_SUITE},kind="benign"}}))', "{{perturbation}} {{severity}}"),
                "percentunit",
            ),
        ],
    ),
    Row(
        "The wrapped model",
        [
            rows(
                About("Attacks that succeed", "Bare (`model`) and behind the guard (`system`), with the 95% interval.",
                      ["WardgateAttacksGetThrough"], width=12, height=10),
                *(
                    Query("max by (probe, attack, scope, judge)"
                          f' (wardgate_probe_attack_success_ratio{{{_SUITE},bound="{bound}"}})', bound)
                    for bound in ("value", "lower", "upper")
                ),
            ),
            bars(
                About("Harmless requests refused", "Share, by target.", ["WardgateHarmlessUseHurt"], width=6,
                      height=10),
                Query(f"max by (probe, target) (wardgate_probe_over_refusal_ratio{{{_SUITE}}})",
                      "{{probe}} {{target}}"),
                "percentunit",
            ),
            bars(
                About("Verdicts that change where they must not", "Share, by what was changed.", width=6, height=10),
                Query(f"max by (target, change, kind) (wardgate_probe_invariance_failure_ratio{{{_SUITE}}})",
                      "{{target}} {{change}} ({{kind}})"),
                "percentunit",
            ),
        ],
    ),
    Row(
        "Fairness and the reward",
        [
            bars(
                About("Fairness gap", "Mean distance between groups, of the same text.", width=12),
                Query(f"max by (probe, target, attribute) (wardgate_probe_fairness_gap{{{_SUITE}}})",
                      "{{target}} {{attribute}}"),
            ),
            lines(
                About("Reward by length", "Change of the reward with the length of a text; 0 is none.", width=12),
                Query(f"max by (probe, target) (wardgate_probe_reward_length_slope{{{_SUITE}}})", "{{target}}"),
                signed=True,
            ),
        ],
    ),
]  # fmt: skip
