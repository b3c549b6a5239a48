"""The figures of a manifest as Markdown, for the reward model's page.

`python -m guards.learning.card` writes the embedded heads' figures between the page's markers.
"""

from __future__ import annotations

import re
from pathlib import Path

from guards.rewards.manifest import Figure, HeadSpec, Manifest, load_manifest
from guards.rewards.reward_model import EMBEDDED_DIR

PAGE = Path("docs/reward-model.md")
_RANKING = ("auroc", "accuracy", "ece_raw", "ece")
_RATES = re.compile(r"(recall|false_positive_rate)@(0\.[5-9])")


def tables(manifest: Manifest) -> str:
    """Every head's figures, in full."""
    return "\n\n".join(_head(head) for head in manifest.heads)


def with_tables(page: str, manifest: Manifest) -> str:
    """The page with what stands between its markers made anew."""
    begin, end = "<!-- figures -->\n", "\n<!-- /figures -->"
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}{tables(manifest)}{end}{after}"


def _head(head: HeadSpec) -> str:
    ranking = [figure for figure in head.held_out if figure.metric in _RANKING]
    rows = "\n".join(
        f"| {f.source} | {f.metric} | {f.value:.3f} | {f.low:.3f} to {f.high:.3f} | {f.n:,} |" for f in ranking
    )
    return (
        f"### {head.name}\n| held out | measure | value | 95% interval | n |\n|---|---|---|---|---|\n{rows}\n\n"
        f"{_rates(head.held_out)}"
    )


def _rates(figures: tuple[Figure, ...]) -> str:
    """One row a source and class: the share stopped at each threshold."""
    by_row: dict[tuple[str, str, int], dict[str, float]] = {}
    for figure in figures:
        found = _RATES.fullmatch(figure.metric)
        if found:
            kind = "harmful" if found[1] == "recall" else "benign"
            by_row.setdefault((kind, figure.source, figure.n), {})[found[2]] = figure.value
    thresholds = sorted({threshold for values in by_row.values() for threshold in values})
    head = f"| share stopped at risk | {' | '.join(thresholds)} | n |\n|---|{'---|' * (len(thresholds) + 1)}\n"
    rows = (
        f"| {kind}: {source} | {' | '.join(f'{values[t]:.3f}' for t in thresholds)} | {n:,} |"
        for (kind, source, n), values in sorted(by_row.items())
    )
    return head + "\n".join(rows)


if __name__ == "__main__":
    manifest, _ = load_manifest(EMBEDDED_DIR)
    PAGE.write_text(with_tables(PAGE.read_text(), manifest))
