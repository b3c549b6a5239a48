"""Two runs of one suite, item by item: what got worse, what got better, and what may be chance.

Paired is what counts at the end: harm that passes under an attack has passed, whether or not it would have passed
without the attack too. So a guard that withholds nothing any more shows here, though the ratio of its rows, which
leaves out what was wrong before, has no trials left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from guards.probes.base import ProbeKind, Setting
from guards.probes.results import RunSummary
from guards.probes.run_file import ItemOutcomes, ProbeRun, outcomes_by_setting
from guards.probes.statistics.paired import benjamini_hochberg, mcnemar


@dataclass(frozen=True, slots=True)
class Change:
    """Of one setting. `before` and `after`: the share of bad outcomes among the `paired` items that both runs know.

    `rose` items went bad, `fell` are so no more. `lost` and `added` items are known to one run alone. `p` is McNemar's;
    `adjusted` the same over all settings of this kind, after Benjamini and Hochberg.
    """

    setting: Setting
    paired: int
    rose: int
    fell: int
    before: float | None
    after: float | None
    lost: int
    added: int
    p: float
    adjusted: float = 1.0

    @property
    def rise(self) -> float:
        return 0.0 if self.before is None or self.after is None else self.after - self.before


@dataclass(frozen=True)
class Comparison:
    """`faults` say why the runs do not compare; then nothing else is filled but what they ran on.

    `digests`: of everything that decides and differs, what it was and what it is.
    """

    previous: RunSummary
    digests: Mapping[str, tuple[str, str]]
    faults: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    missing: tuple[Setting, ...] = ()
    added: tuple[Setting, ...] = ()

    def of_kind(self, kind: ProbeKind) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.setting.kind is kind)


def compare(current: ProbeRun, previous: ProbeRun) -> Comparison:
    digests = _changed(previous.run.digests, current.run.digests)
    if faults := _faults(current.run, previous.run):
        return Comparison(previous.run, digests, faults)
    now, then = outcomes_by_setting(current), outcomes_by_setting(previous)
    pairs = [_change(then[key], now[key]) for key in now if key in then]
    changes = [change for kind in ProbeKind for change in _adjusted([p for p in pairs if p.setting.kind is kind])]
    return Comparison(
        previous.run,
        digests,
        changes=tuple(changes),
        missing=tuple(then[key].setting for key in then if key not in now),
        added=tuple(now[key].setting for key in now if key not in then),
    )


def _faults(current: RunSummary, previous: RunSummary) -> tuple[str, ...]:
    faults = []
    if current.suite != previous.suite:
        faults.append(f"it ran the suite '{previous.suite}', this one '{current.suite}'")
    elif current.suite_digest != previous.suite_digest:
        faults.append(
            f"the suite's file changed: it was {previous.suite_digest[:12]}, it is {current.suite_digest[:12]}"
        )
    if current.seed != previous.seed:
        faults.append(f"other prompts were drawn: its seed was {previous.seed}, this one's {current.seed}")
    return tuple(faults)


def _changed(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    names = dict.fromkeys([*before, *after])
    pairs = {name: (before.get(name, "none"), after.get(name, "none")) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _change(then: ItemOutcomes, now: ItemOutcomes) -> Change:
    known_then = {item: outcome.bad for item, outcome in then.items.items() if outcome.known}
    known_now = {item: outcome.bad for item, outcome in now.items.items() if outcome.known}
    both = known_then.keys() & known_now.keys()
    rose = sum(known_now[item] and not known_then[item] for item in both)
    fell = sum(known_then[item] and not known_now[item] for item in both)
    bad_before = sum(known_then[item] for item in both)
    return Change(
        setting=now.setting,
        paired=len(both),
        rose=rose,
        fell=fell,
        before=bad_before / len(both) if both else None,
        after=(bad_before + rose - fell) / len(both) if both else None,
        lost=len(known_then.keys() - both),
        added=len(known_now.keys() - both),
        p=mcnemar(rose, fell),
    )


def _adjusted(changes: Sequence[Change]) -> list[Change]:
    adjusted = benjamini_hochberg([change.p for change in changes])
    return [replace(change, adjusted=value) for change, value in zip(changes, adjusted, strict=True)]
