"""A run as one JSON file: what `wardgate probe run --json` writes, and what reports, gates and later runs read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from guards.errors import ConfigError
from guards.policy import describe
from guards.probes.base import Example, ProbeKind, Setting, Trial
from guards.probes.judging import by_judge
from guards.probes.records import UnitOutcome
from guards.probes.redaction import masked_example
from guards.probes.results import Correct, Result, RunSummary, SettingKey, Tried, results, tried

FORMAT = "wardgate.probes/1"
_EXAMPLES = 3  # kept of one setting


class Outcome(StrEnum):
    """What became of one item. Wrong before means that there was nothing to flip; what came after is known still."""

    SUCCESS = "1"
    NONE = "0"
    WRONG_THROUGHOUT = "W"
    WRONG_BEFORE = "w"
    SKIPPED = "-"

    @property
    def known(self) -> bool:
        return self is not Outcome.SKIPPED

    @property
    def bad(self) -> bool:
        """What the probe looks for is the case, whether or not it was so before the attack too."""
        return self in (Outcome.SUCCESS, Outcome.WRONG_THROUGHOUT)


@dataclass(frozen=True)
class ItemOutcomes:
    """By item, so that a later run can be paired with this one."""

    setting: Setting
    items: dict[str, Outcome]


@dataclass(frozen=True)
class WorstExample:
    """A success of a setting, of those with the largest `value` or else the first. Masked unless the run says not."""

    setting: Setting
    item: str
    value: float | None
    example: Example = field(repr=False)


@dataclass(frozen=True)
class ProbeRun:
    """`masked`: letters of the examples were replaced before they were kept."""

    run: RunSummary
    results: tuple[Result, ...]
    outcomes: tuple[ItemOutcomes, ...] = field(repr=False)
    examples: tuple[WorstExample, ...] = field(default=(), repr=False)
    masked: bool = True

    def of_kind(self, kind: ProbeKind) -> tuple[Result, ...]:
        return tuple(result for result in self.results if result.kind is kind)


def probe_run(
    run: RunSummary, outcomes: Sequence[UnitOutcome], show_examples: bool = False, correct: Correct = by_judge
) -> ProbeRun:
    settings = tried(outcomes)
    examples = [example for one in settings for example in _worst(one, show_examples)]
    return ProbeRun(
        run,
        results(outcomes, correct),
        tuple(_items(one) for one in settings),
        tuple(examples),
        masked=not show_examples,
    )


def outcomes_by_setting(run: ProbeRun) -> dict[SettingKey, ItemOutcomes]:
    return {one.setting.key: one for one in run.outcomes}


def outcome_of(trial: Trial) -> Outcome:
    if trial.skipped:
        if trial.clean is not False or trial.adversarial is None:
            return Outcome.SKIPPED
        return Outcome.WRONG_BEFORE if trial.adversarial else Outcome.WRONG_THROUGHOUT
    return Outcome.SUCCESS if trial.success else Outcome.NONE


def as_json(run: ProbeRun) -> str:
    """A row a line, so that two files can be compared by eye."""
    document: dict[str, Any] = _ADAPTER.dump_python(run, mode="json")
    whole = {"format": FORMAT, **document["run"], "complete": run.run.complete, "masked": run.masked}
    lists = ",\n".join(
        f'"{name}": [\n' + ",\n".join(_line(row) for row in document[name]) + "\n]"
        for name in ("results", "outcomes", "examples")
    )
    return f'{{"run": {json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False)},\n{lists}}}\n'


def read_run(path: Path) -> ProbeRun:
    """Raises ConfigError that names the file and what is wrong."""
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error
    run = document.get("run") if isinstance(document, dict) else None
    if not isinstance(run, dict) or run.get("format") != FORMAT:
        raise ConfigError(f"{path} is no run of probes ({FORMAT}); `wardgate probe run SUITE --json` writes one")
    try:
        return _ADAPTER.validate_python(document | {"masked": run.get("masked", True)})
    except ValidationError as error:
        raise ConfigError(f"{path} is a damaged run of probes: {describe(error)}") from error


def _items(one: Tried) -> ItemOutcomes:
    """An item that a setting has more than once gets a number, in the order of the plan."""
    seen: Counter[str] = Counter()
    items: dict[str, Outcome] = {}
    for trial in one.trials:
        seen[trial.item] += 1
        name = trial.item if seen[trial.item] == 1 else f"{trial.item}#{seen[trial.item]}"
        items[name] = outcome_of(trial)
    return ItemOutcomes(one.setting, items)


def _worst(one: Tried, show: bool) -> list[WorstExample]:
    hits = [trial for trial in one.trials if trial.success and not trial.skipped and trial.example is not None]
    hits.sort(key=lambda trial: -abs(trial.value or 0.0))
    return [
        WorstExample(one.setting, trial.item, trial.value, trial.example if show else masked_example(trial.example))
        for trial in hits[:_EXAMPLES]
        if trial.example is not None
    ]


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=False)


_ADAPTER = TypeAdapter(ProbeRun)
