"""The words and options of `wardgate probe`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from service.probing import commands

Group: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
Command: TypeAlias = Callable[[argparse.Namespace], int]
Add: TypeAlias = "Callable[[Group, str, Command, str], argparse.ArgumentParser]"


def add_probe(probe: Group, add: Add) -> None:
    add(probe, "list", commands.list_suites, "List the suites and their probes.")

    run = add(probe, "run", commands.run_suite, "Run a suite against the configured service, in this process.")
    run.add_argument("suite", metavar="SUITE", help="a name of `wardgate probe list`")
    run.add_argument("--json", type=Path, metavar="FILE", help="where the figures go, for reports, gates and --compare")
    run.add_argument("--seed", type=int, metavar="N", help="of the prompts and disguises; default the suite's")
    run.add_argument("--policy", default="", metavar="NAME", help="policy by name; empty takes the default")
    run.add_argument(
        "--keep", type=Path, metavar="FILE", help="write every unit there as it is done, and go on from what is there"
    )
    run.add_argument("--budget", type=float, metavar="SECONDS", help="stop before the next unit once spent")
    run.add_argument("--compare", type=Path, metavar="RUN", help="an earlier run's file, to pair this one with")
    _add_output(run)

    report = add(probe, "report", commands.report, "Show a run's file as a page, as pictures or as lines.")
    report.add_argument("run_file", type=Path, metavar="RUN", help="what `wardgate probe run --json` wrote")
    report.add_argument("--compare", type=Path, metavar="RUN", help="an earlier run's file, to pair this one with")
    _add_output(report)

    gate = add(probe, "gate", commands.gate, "Exit with 3 where a run is worse than its limits or than a baseline.")
    gate.add_argument("run_file", type=Path, metavar="RUN", help="what `wardgate probe run --json` wrote")
    gate.add_argument(
        "--baseline", type=Path, metavar="RUN", help="the file of the run that this one may not fall behind"
    )
    gate.add_argument(
        "--max-drop", type=float, default=0.05, metavar="SHARE", help="of a setting's items; default 0.05"
    )
    gate.add_argument(
        "--max-attack-success", type=float, metavar="SHARE", help="fail where an attack's is surely over it"
    )
    gate.add_argument(
        "--max-benign-blocked", type=float, metavar="SHARE", help="fail where harmless use is surely hurt oftener"
    )
    gate.add_argument(
        "--allow-skipped",
        action="append",
        default=[],
        metavar="PROBE",
        help="may lack its target, such as a wrapped model; * allows all",
    )


def _add_output(command: argparse.ArgumentParser) -> None:
    command.add_argument("--html", type=Path, metavar="FILE", help="one page with its pictures; needs wardgate[train]")
    command.add_argument("--png", type=Path, metavar="FOLDER", help="the pictures alone; needs wardgate[train]")
    command.add_argument("--show-examples", action="store_true", help="keep and show the prompts' texts, unmasked")
