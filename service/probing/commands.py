"""`wardgate probe`: suites of robustness probes, run in this process, and what is made of their runs."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from guards.errors import ConfigError
from service.config import load_settings

if TYPE_CHECKING:  # the commands load what they need
    from guards.probes.harness import Plan
    from guards.probes.records import UnitOutcome
    from guards.probes.run_file import ProbeRun
    from guards.probes.targets import Targets


def list_suites(options: Namespace) -> int:
    """Every suite with its probes; one that is wrong is told of, and the others are listed still."""
    from guards.probes.suite import find_suites, named_suite

    directory = load_settings(options.config).probing.suites
    faults = 0
    for name in find_suites(directory):
        try:
            suite = named_suite(directory, name)
        except ConfigError as error:
            faults += 1
            print(f"wardgate: {error}", file=sys.stderr)
            continue
        print(f"{suite.name:16} {suite.digest[:12]}  {suite.description}")
        for probe in suite.probes:
            needs = ", ".join(sorted(need.value for need in probe.needs)) or "nothing"
            print(f"  {probe.name:30} needs {needs}")
    return 2 if faults else 0


def run_suite(options: Namespace) -> int:
    """Runs a suite against the configured service, built once more in this process. 1 where a unit failed."""
    from guards.probes.harness import plan
    from guards.probes.suite import named_suite
    from service.probing.targets import ProbedService
    from service.progress import ProgressBars

    settings = load_settings(options.config)
    suite = named_suite(settings.probing.suites, options.suite)
    service = ProbedService(settings, options.policy)
    try:
        targets = service.targets()
        planned = plan(suite, targets, options.seed)
        bars = ProgressBars()
        run = execute(planned, targets, lambda done, total: bars(suite.name, done, total), options.budget)
        bars.close()
    finally:
        service.close()
    _write(run, options)
    return 1 if run.run.unit_errors else 0


def execute(
    planned: Plan,
    targets: Targets,
    progress: Callable[[int, int], None],
    budget_s: float | None = None,
    show_examples: bool = False,
    earlier: Sequence[UnitOutcome] = (),
    keep: Callable[[UnitOutcome], None] = lambda outcome: None,
) -> ProbeRun:
    """`earlier` are outcomes of this plan from before it was stopped; their units are not done again, `keep` gets each
    new one. `progress` is told of trials."""
    from guards.probes.harness import run
    from guards.probes.results import summarize
    from guards.probes.run_file import probe_run

    expected = {unit.key: unit.trials for unit in planned.units}
    outcomes = [outcome for outcome in earlier if outcome.key in expected]
    done = sum(expected[outcome.key] for outcome in outcomes)

    def on_unit(outcome: UnitOutcome) -> None:
        nonlocal done
        outcomes.append(outcome)
        keep(outcome)
        done += expected[outcome.key]
        progress(done, planned.trials)

    started = datetime.now(UTC)
    progress(done, planned.trials)
    run(planned, targets, on_unit, {outcome.key for outcome in outcomes}, budget_s)
    summary = summarize(planned, outcomes, targets.digests, started, datetime.now(UTC), budget_s)
    return probe_run(summary, outcomes, show_examples)


def _write(run: ProbeRun, options: Namespace) -> None:
    from guards.probes.run_file import as_json

    if options.json:
        _put(options.json, as_json(run))


def _put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
