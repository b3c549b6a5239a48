"""A run of probes as one HTML file that asks the network for nothing, and as lines for a terminal."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment

from guards.pages import page_environment
from guards.pictures import Picture
from guards.probes.base import Example, ProbeKind
from guards.probes.comparison import Change, Comparison
from guards.probes.plots import Curve, curves, run_pictures, technique, words
from guards.probes.redaction import masked_example, visible
from guards.probes.results import Result, SettingKey
from guards.probes.run_file import ProbeRun, WorstExample
from guards.probes.statistics.ratio import trials_for_none

_TEMPLATE = "report.html.j2"
_MOST_EXAMPLES = 12  # of one kind


@dataclass(frozen=True)
class Table:
    """The rows of one probe on one target: those without a trial, then the worst first."""

    name: str
    rows: tuple[Result, ...]


@dataclass(frozen=True)
class Section:
    """Everything of one kind: attacks, or harmless use."""

    kind: ProbeKind
    tables: tuple[Table, ...]
    pictures: tuple[Picture, ...]
    changes: tuple[Change, ...]
    examples: tuple[WorstExample, ...]


def as_html(run: ProbeRun, comparison: Comparison | None = None, show_examples: bool = False) -> str:
    """Everything that is shown is escaped. Examples are masked unless `show_examples`, and where the run's file
    already holds them masked. Raises ConfigError without matplotlib. The same run gives the same bytes."""
    template = _environment().get_template(_TEMPLATE)
    html: str = template.render(
        run=run.run,
        sections=[_section(kind, run, comparison, show_examples) for kind in ProbeKind],
        curves=[curve for kind in ProbeKind for curve in curves(run.of_kind(kind))],
        comparison=comparison,
        masked=run.masked or not show_examples,
        file_is_masked=run.masked,
        needed=[(limit, trials_for_none(limit)) for limit in (0.05, 0.02, 0.01)],
        seconds=sum(run.run.seconds.values()),
    )
    return html


def write_pictures(run: ProbeRun, folder: Path) -> tuple[Path, ...]:
    """One PNG a picture, named for its title."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for kind in ProbeKind:
        for picture in run_pictures(run.of_kind(kind)):
            path = folder / f"{kind}-{re.sub('[^a-z0-9]+', '-', picture.title.lower()).strip('-')}.png"
            path.write_bytes(picture.png)
            written.append(path)
    return tuple(written)


def summary(run: ProbeRun) -> str:
    """For a terminal: each kind by itself, the worst rows first."""
    lines = [_how_much(run)]
    for kind, title in ((ProbeKind.ATTACK, "attacks that got through"), (ProbeKind.BENIGN, "harmless use hurt")):
        for table in _tables(run.of_kind(kind)):
            lines.append(f"{table.name}: {title}")
            lines += [_summary_line(row) for row in table.rows]
    lines += [f"skipped {name}: {why}" for name, why in run.run.skipped_probes.items()]
    lines += [f"failed {key}: {error}" for key, error in run.run.unit_errors.items()]
    return "\n".join(lines)


def _how_much(run: ProbeRun) -> str:
    whole = "complete" if run.run.complete else "INCOMPLETE"
    return f"suite {run.run.suite}, seed {run.run.seed}: {run.run.units_done} of {run.run.units_total} units, {whole}"


def _summary_line(row: Result) -> str:
    start = f"  {technique(row):44}"
    if row.ratio is None:
        return f"{start} no trials"
    return f"{start} {row.ratio:6.1%}  [{row.low:.1%}, {row.high:.1%}]  {row.successes} of {row.trials}"


def _section(kind: ProbeKind, run: ProbeRun, comparison: Comparison | None, show: bool) -> Section:
    rows = run.of_kind(kind)
    changes = comparison.of_kind(kind) if comparison else ()
    return Section(
        kind,
        _tables(rows),
        run_pictures(rows),
        tuple(sorted((change for change in changes if change.rose or change.fell), key=lambda one: -one.rise)),
        _examples(kind, run, show),
    )


def _tables(rows: Sequence[Result]) -> tuple[Table, ...]:
    groups: dict[str, list[Result]] = {}
    for row in rows:
        groups.setdefault(f"{row.probe} on {row.target}", []).append(row)
    return tuple(
        Table(name, tuple(sorted(members, key=lambda row: -(2.0 if row.ratio is None else row.ratio))))
        for name, members in groups.items()
    )


def _examples(kind: ProbeKind, run: ProbeRun, show: bool) -> tuple[WorstExample, ...]:
    """Of the worst settings first, and one of each before a second, so that no technique takes all the room."""
    ratios = {row.setting.key: row.ratio or 0.0 for row in run.of_kind(kind)}
    seen: Counter[SettingKey] = Counter()
    ranked: list[tuple[int, float, WorstExample]] = []
    for one in run.examples:
        if one.setting.kind is kind:
            seen[one.setting.key] += 1
            ranked.append((seen[one.setting.key], -ratios.get(one.setting.key, 0.0), one if show else _masked(one)))
    ranked.sort(key=lambda entry: entry[:2])
    return tuple(one for _, _, one in ranked[:_MOST_EXAMPLES])


def _masked(one: WorstExample) -> WorstExample:
    return WorstExample(one.setting, one.item, one.value, masked_example(one.example))


def _environment() -> Environment:
    environment = page_environment(Path(__file__).parent)
    environment.filters.update(
        percent=lambda value: f"{value:.1%}",
        evidence=_evidence,
        technique=technique,
        words=_setting_words,
        visible=visible,
        texts=_texts,
    )
    return environment


def _evidence(row: Result) -> str:
    """Whether the trials speak against `tolerated`, at 5% however often one looks; then the e-value."""
    e = math.exp(min(row.log_evidence, 100.0))
    words = "> 1,000" if e > 1000 else "< 0.1" if e < 0.1 else f"= {e:.1f}"
    return f"over {row.tolerated:.0%}, e {words}" if e >= 20 else f"open, e {words}"


def _setting_words(one: Change | WorstExample | Curve) -> str:
    if isinstance(one, Curve):
        return one.name
    named = words(one.setting.parameters)
    return f"{one.setting.probe} on {one.setting.target}" + (f": {named}" if named else "")


def _texts(example: Example) -> list[tuple[str, str]]:
    named = (("as it is", example.original), ("attacked", example.attacked), ("answer", example.answer))
    return [(name, text) for name, text in named if text]
