"""The words and options of `wardgate probe`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from service.probing import commands, remote_commands

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


def add_remote_probe(probe: Group, server: argparse.ArgumentParser) -> None:
    """`server` has the options that say which server is asked."""

    def add(name: str, run: Command, text: str) -> argparse.ArgumentParser:
        command = probe.add_parser(name, parents=[server], help=text, description=text)
        command.set_defaults(run=run)
        return command

    start = add("start", remote_commands.start, "Have a running server run a suite, beside its live traffic.")
    start.add_argument("suite", metavar="SUITE", help="a name of `wardgate probe list`")
    start.add_argument("--wait", action="store_true", help="until it has ended; 1 unless it is done")
    start.add_argument("--policy", default="", metavar="NAME", help="policy to attack; empty takes the default")
    start.add_argument("--seed", type=int, metavar="N", help="default the suite's")
    start.add_argument("--budget", type=float, metavar="SECONDS", help="CPU time after which no unit is begun")
    listed = add("runs", remote_commands.runs, "List a server's runs, the latest first.")
    listed.add_argument("--suite", default="", metavar="SUITE", help="of this suite alone")
    listed.add_argument("--limit", type=int, default=20, metavar="N", help="at most 200; default 20")
    for name, run, text in (
        ("status", remote_commands.status, "Show a run of a server, with its results once it is done."),
        ("pause", remote_commands.pause, "Stop a run; what is done is kept."),
        ("resume", remote_commands.resume, "Put a paused run back in the line."),
        ("cancel", remote_commands.cancel, "End a run for good, without results."),
    ):
        add(name, run, text).add_argument("id", metavar="RUN", help="its id, as `runs` lists it")
