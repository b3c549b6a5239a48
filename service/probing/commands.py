"""`wardgate probe`: suites of robustness probes, run in this process, and what is made of their runs."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from contextlib import nullcontext
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
    from guards.probes.kept_units import KeptUnits
    from guards.probes.report import summary
    from guards.probes.run_file import as_json, read_run
    from guards.probes.suite import named_suite
    from service.probing.targets import ProbedService
    from service.progress import ProgressBars

    previous = read_run(options.compare) if options.compare else None
    settings = load_settings(options.config)
    suite = named_suite(settings.probing.suites, options.suite)
    service = ProbedService(settings, options.policy)
    try:
        targets = service.targets()
        planned = plan(suite, targets, options.seed)
        bars = ProgressBars()
        with KeptUnits(options.keep, planned, targets.digests) if options.keep else nullcontext() as kept:
            run = execute(
                planned,
                targets,
                lambda done, total: bars(suite.name, done, total),
                options.budget,
                options.show_examples,
                kept.earlier if kept else (),
                kept.keep if kept else lambda outcome: None,
            )
        bars.close()
    finally:
        service.close()
    if options.json:
        _put(options.json, as_json(run))  # first: whatever else fails, the run is kept
    print(summary(run))
    _show(run, previous, options)
    return 1 if run.run.unit_errors else 0


def report(options: Namespace) -> int:
    """A run's file as a page, as pictures, or as lines."""
    from guards.probes.report import summary
    from guards.probes.run_file import read_run

    run = read_run(options.run_file)
    previous = read_run(options.compare) if options.compare else None
    if options.show_examples and run.masked:
        raise ConfigError(f"{options.run_file} holds masked examples; run the suite again with --show-examples")
    if not options.html and not options.png:
        print(summary(run))
    _show(run, previous, options)
    return 0


def gate(options: Namespace) -> int:
    """3 with the reasons where a run is worse than its limits or than the run before, or says too little."""
    from guards.probes.gate import Limits
    from guards.probes.gate import gate as judge
    from guards.probes.run_file import read_run

    for name in ("max_drop", "max_attack_success", "max_benign_blocked"):
        value = getattr(options, name)
        if value is not None and not 0 <= value <= 1:
            raise ConfigError(f"--{name.replace('_', '-')} is a share from 0 to 1, such as 0.05")
    run = read_run(options.run_file)
    previous = read_run(options.baseline) if options.baseline else None
    limits = Limits(
        options.max_attack_success, options.max_benign_blocked, allow_skipped=frozenset(options.allow_skipped)
    )
    verdict = judge(run, previous, options.max_drop, limits)
    for note in verdict.notes:
        print(f"note  {note}")
    for reason in verdict.reasons:
        print(f"FAIL  {reason}")
    if verdict.passed:
        print("pass")
        return 0
    print(f"wardgate: the gate fails for {len(verdict.reasons)} reasons", file=sys.stderr)
    return 3


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


def _show(run: ProbeRun, previous: ProbeRun | None, options: Namespace) -> None:
    from guards.probes.comparison import compare
    from guards.probes.report import as_html, write_pictures

    comparison = compare(run, previous) if previous else None
    for fault in comparison.faults if comparison else ():
        print(f"wardgate: {options.compare} does not compare: {fault}", file=sys.stderr)
    if options.html:
        _put(options.html, as_html(run, comparison, options.show_examples))
    if options.png:
        for path in write_pictures(run, options.png):
            print(path)


def _put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
