"""Does a suite's units, one after the other, and tells of each as it is done."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from guards.probes.base import Unit
from guards.probes.records import UnitOutcome
from guards.probes.suite import Suite
from guards.probes.targets import Targets

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """The units of a run. `skipped`: of every probe whose target is missing, which one, and how many units that is."""

    suite: Suite
    seed: int
    units: tuple[Unit, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)

    @property
    def trials(self) -> int:
        return sum(unit.trials for unit in self.units)


def plan(suite: Suite, targets: Targets, seed: int | None = None) -> Plan:
    """Everything that can be run on these targets. Raises ConfigError when the suite names what does not exist."""
    units: list[Unit] = []
    left_out: Counter[tuple[str, str]] = Counter()
    for probe, unit in suite.units(seed):
        missing = sorted(need.value for need in probe.needs if not targets.has(need))
        if missing:
            left_out[probe.name, ", ".join(missing)] += 1
        else:
            units.append(unit)
    skipped = {
        name: f"needs {what}, which this server has not; {count} units" for (name, what), count in left_out.items()
    }
    return Plan(suite, suite.seed if seed is None else seed, tuple(units), skipped)


def run(
    plan: Plan,
    targets: Targets,
    on_unit: Callable[[UnitOutcome], None],
    done: Collection[str] = (),
    budget_s: float | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> bool:
    """Does the units that are not `done`, and says whether all are now: not so when the budget ran out.

    A unit that raises is an outcome with an error; the run goes on. `clock` gives the seconds that units take.
    """
    spent = 0.0
    for unit in plan.units:
        if unit.key in done:
            continue
        if budget_s is not None and spent >= budget_s:
            return False
        outcome = _done(unit, targets, clock)
        spent += outcome.seconds
        on_unit(outcome)
    return True


def _done(unit: Unit, targets: Targets, clock: Callable[[], float]) -> UnitOutcome:
    started = clock()
    try:
        measured = unit.run(targets)
    except Exception as error:
        log.exception("a unit of a probe failed", extra={"unit": unit.key})
        return UnitOutcome(unit.key, clock() - started, error=type(error).__name__)
    return UnitOutcome(unit.key, clock() - started, measured)
