"""The generated parts of the reward model's card: what it is, its data and its held-out figures, as Markdown.

`python -m guards.learning.card` writes those of the embedded heads between the page's markers. The figures'
names are in guards/learning/figures.py.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from guards.learning.recipe import ALONE, COMPANY, DISGUISED
from guards.policy import load_policy, withholding_risk
from guards.rewards.manifest import Figure, HeadSpec, Manifest, load_manifest
from guards.rewards.reward_model import EMBEDDED_DIR
from guards.types import Stage

PAGE = Path("docs/reward-model.md")
_POLICY = Path(__file__).parent.parent / "policies" / "default.yaml"
_ALL = "all held-out"  # how the name of the sources together begins
_WORDS = {
    "auroc": "AUROC",
    "ece": "calibration error (ECE)",
    "ece_balanced": "calibration error (ECE), classes weighted alike",
    "ece_raw": "calibration error before calibration",
    "length_correlation": "rank correlation of reward with length",
    "accuracy": "pairs right",
    "accuracy_safe": "refusal pairs right, safe half: the answer should win",
    "accuracy_unsafe": "refusal pairs right, unsafe half: the refusal should win",
}
_VARIANTS = {
    COMPANY: ", in company",
    ALONE: ", single sentences",
    DISGUISED: ", in disguise",
}  # after a source's name: after its kind
_KINDS = (
    "safe and unsafe",
    *(f"{kind}{variant}" for kind in ("unsafe", "safe") for variant in ("", *_VARIANTS.values())),
)

_Cells = Mapping[str, Figure]  # a source's figures by metric


def with_tables(page: str, manifest: Manifest) -> str:
    """The page with what stands between its markers made anew."""
    for name, text in (("model", _model(manifest)), ("data", _data(manifest)), ("figures", tables(manifest))):
        begin, end = f"<!-- {name} -->\n", f"\n<!-- /{name} -->"
        before, found, rest = page.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise ValueError(f"the page lacks the markers of {name}")
        page = f"{before}{begin}{text}{end}{after}"
    return page


def tables(manifest: Manifest) -> str:
    """Every head's figures: all sources together, pairs, and by source."""
    thresholds = _thresholds(manifest)
    return "\n\n".join(_head(head, thresholds.get(head.name)) for head in manifest.heads)


def _thresholds(manifest: Manifest) -> dict[str, float]:
    """By head: the risk from which the default policy withholds."""
    sides = {"prompt": frozenset({Stage.REQUEST}), "exchange": frozenset({Stage.RESPONSE})}
    policy = load_policy(_POLICY, {head.name: sides[head.input] for head in manifest.heads})
    risks = {head.name: withholding_risk(policy, head.name) for head in manifest.heads}
    return {name: risk for name, risk in risks.items() if risk is not None}


def _model(manifest: Manifest) -> str:
    heads = ", ".join(f"`{head.name}`" for head in manifest.heads)
    return (
        f"| | |\n|---|---|\n| name, version | {manifest.name} {manifest.version} |\n| heads | {heads} |\n"
        f"{_adapted(manifest)}"
        f"| encoder | `{manifest.encoder.source}`, sha256 `{manifest.encoder.sha256[:12]}` |\n"
        f"| windows | {manifest.window.size} tokens, overlapping by {manifest.window.overlap} |\n"
        f"| recipe | sha256 `{manifest.recipe_sha256[:12]}`, seed {manifest.seed} |"
    )


def _adapted(manifest: Manifest) -> str:
    if not manifest.adapter:
        return ""
    rank, first = manifest.adapter.rank, manifest.adapter.first_layer
    return f"| adapter | LoRA of rank {rank} on the encoder's layers from {first} up (0 is the lowest) |\n"


def _data(manifest: Manifest) -> str:
    rows = "\n".join(f"| {file.path} | {file.rows:,} | {file.licence} |" for file in manifest.training)
    return f"| file | rows used | licence |\n|---|---|---|\n{rows}"


def _head(head: HeadSpec, threshold: float | None) -> str:
    by_source: dict[str, dict[str, Figure]] = {}
    for figure in head.held_out:
        by_source.setdefault(figure.source, {})[figure.metric] = figure
    parts = [f"### {head.name}"]
    together = [_row(name, figure) for figure in head.held_out for name in _together(figure, threshold)]
    if together:
        parts.append(_table(("all held-out sources", "value", "95% interval", "n"), together))
    pairs = sorted(
        (figure for figure in head.held_out if figure.metric.startswith("accuracy") and not _is_all(figure.source)),
        key=lambda figure: (figure.metric, figure.source),
    )
    if pairs:
        rows = [_row(f"{_cell(figure.source)} | {_WORDS[figure.metric]}", figure) for figure in pairs]
        parts.append(_table(("pairs held out", "of", "accuracy", "95% interval", "n"), rows))
    sources = _by_source(by_source, threshold)
    if sources:
        stopped = "share stopped" if threshold is None else f"share stopped at risk {threshold:g}"
        table = _table(("held out", "rows are", "AUROC", stopped, "n"), sources)
        parts.append(f"<details><summary>{head.name} by source</summary>\n\n{table}\n\n</details>")
    return "\n\n".join(parts)


def _is_all(source: str) -> bool:
    return source.startswith(_ALL)


def _together(figure: Figure, threshold: float | None) -> Iterator[str]:
    """The measure in words, where it is of all sources together and at the threshold that is shown."""
    if not _is_all(figure.source):
        return
    if figure.metric in _WORDS:
        yield _WORDS[figure.metric]
    elif threshold is not None and figure.metric == f"recall@{threshold:g}":
        yield f"unsafe rows stopped at risk {threshold:g} (recall)"
    elif threshold is not None and figure.metric == f"false_positive_rate@{threshold:g}":
        yield f"safe rows stopped at risk {threshold:g} (false positives)"


def _by_source(by_source: Mapping[str, _Cells], threshold: float | None) -> list[str]:
    rows: list[tuple[int, str, str]] = []
    for source, figures in by_source.items():
        if not _is_all(source):
            rows += [(_KINDS.index(kind), source, line) for kind, line in _source_lines(source, figures, threshold)]
    return [line for _, _, line in sorted(rows)]


def _source_lines(source: str, figures: _Cells, threshold: float | None) -> Iterator[tuple[str, str]]:
    """One line a class, or one for both where its AUROC is of the same rows."""
    recall = figures.get(f"recall@{threshold:g}") if threshold is not None else None
    alarms = figures.get(f"false_positive_rate@{threshold:g}") if threshold is not None else None
    auroc = figures.get("auroc")
    variant = next((words for suffix, words in _VARIANTS.items() if source.endswith(suffix)), "")
    pooled = figures.get("auroc_pooled")
    if auroc:
        yield "safe and unsafe", _source_line(source, "safe and unsafe", auroc, None, auroc.n)
    if recall:
        yield f"unsafe{variant}", _source_line(source, f"unsafe{variant}", pooled, recall, recall.n)
    if alarms:
        yield f"safe{variant}", _source_line(source, f"safe{variant}", pooled, alarms, alarms.n)


def _source_line(source: str, kind: str, auroc: Figure | None, stopped: Figure | None, n: int) -> str:
    mark = "*" if auroc and auroc.metric == "auroc_pooled" else ""
    return f"| {_cell(source)} | {kind} | {_value(auroc)}{mark} | {_value(stopped)} | {n:,} |"


def _value(figure: Figure | None) -> str:
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})" if figure else ""


def _row(name: str, figure: Figure) -> str:
    return f"| {name} | {figure.value:.3f} | {figure.low:.3f} to {figure.high:.3f} | {figure.n:,} |"


def _table(columns: Sequence[str], rows: Sequence[str]) -> str:
    return "\n".join([f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}", *rows])


def _cell(name: str) -> str:
    """A name that cannot leave its cell."""
    return html.escape(name, quote=False).replace("|", "&#124;").replace("\n", " ")


if __name__ == "__main__":
    manifest, _ = load_manifest(EMBEDDED_DIR)
    PAGE.write_text(with_tables(PAGE.read_text(), manifest))
