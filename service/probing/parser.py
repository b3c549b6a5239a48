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
    run.add_argument("--budget", type=float, metavar="SECONDS", help="stop before the next unit once spent")
