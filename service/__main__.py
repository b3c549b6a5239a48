"""The `wardgate` command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TypeAlias

from guards.errors import WardgateError
from service import commands

Command: TypeAlias = Callable[[argparse.Namespace], int]
Group: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when done, 2 for a fault of input or configuration, 1 for anything else that stopped it."""
    options = _parser().parse_args(arguments)
    run: Command = options.run
    try:
        return run(options)
    except WardgateError as error:
        print(f"wardgate: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except ExceptionGroup as group:
        ours, others = group.split(WardgateError)
        if others:
            raise others from None
        for fault in ours.exceptions if ours else ():
            print(f"wardgate: {fault}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wardgate", description="The guardrail in front of a deployed language model."
    )
    parser.add_argument("--version", action="version", version=f"wardgate {version('wardgate')}")
    every = argparse.ArgumentParser(add_help=False)
    every.add_argument("--config", type=Path, metavar="FILE", help="YAML settings; see docs/configuration.md")
    groups = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(under: Group, name: str, run: Command, text: str) -> argparse.ArgumentParser:
        command = under.add_parser(name, parents=[every], help=text, description=text)
        command.set_defaults(run=run)
        return command

    add(groups, "serve", commands.serve, "Serve gRPC, metrics and health.")

    check = add(groups, "check", commands.check, "Judge one text in this process.")
    check.add_argument("text", help="what a user says")
    check.add_argument("--response", action="append", default=[], metavar="TEXT", help="a response to judge too")
    check.add_argument("--policy", default="", metavar="NAME", help="policy by name; empty takes the default")
    check.add_argument("--scores", action="store_true", help="show every head's score")
    check.add_argument("--json", action="store_true", help="print the CheckResponse as JSON")

    evaluate = add(groups, "evaluate", commands.evaluate, "Measure a head on a labelled JSON Lines file.")
    evaluate.add_argument("file", type=Path, help=".jsonl or .jsonl.gz; the row shapes are in docs/reward-model.md")
    evaluate.add_argument("--head", required=True, metavar="NAME")
    evaluate.add_argument("--json", action="store_true", help="print one JSON object")

    calibrate = add(groups, "calibrate", commands.calibrate, "Choose a guard's threshold from benign texts.")
    calibrate.add_argument("--policy", required=True, metavar="NAME", help="whose guard it is for")
    calibrate.add_argument(
        "--guard", default="", metavar="NAME", help="needed when the policy has several reward guards"
    )
    calibrate.add_argument("--benign", type=Path, required=True, metavar="FILE", help="JSON Lines of harmless texts")
    calibrate.add_argument("--target-block-rate", type=float, default=0.01, metavar="SHARE", help="default 0.01")
    calibrate.add_argument("--confidence", type=float, default=0.95, metavar="P", help="default 0.95")
    calibrate.add_argument("--labelled", type=Path, metavar="FILE", help="safe and unsafe rows, to fit the risk itself")
    calibrate.add_argument("--name", default="", metavar="NAME", help="as policies say it; default POLICY-GUARD")
    calibrate.add_argument("--out", type=Path, metavar="FOLDER", help="default calibrations.directory")
    calibrate.add_argument("--valid-days", type=int, default=90, metavar="DAYS", help="then it expires; default 90")
    calibrate.add_argument("--seed", type=int, default=0)
    calibrate.add_argument("--json", action="store_true", help="print one JSON object")

    train = _group(groups, "train", "Train heads.")
    reward = add(train, "reward", commands.train_reward, "Train reward heads from a recipe.")
    reward.add_argument("--recipe", type=Path, default=Path("recipes/reward.yaml"), metavar="FILE")
    reward.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the heads and manifest go")

    models = _group(groups, "models", "Fetch and check models.")
    pull = add(models, "pull", commands.models_pull, "Fetch models into the cache, and export the reward model.")
    pull.add_argument("names", nargs="*", metavar="MODEL", help="empty takes what the settings need")
    pull.add_argument("--quiet", action="store_true", help="no progress bars")
    add(models, "list", commands.models_list, "List models and their state.")
    verify = add(models, "verify", commands.models_verify, "Check every byte of models.")
    verify.add_argument("names", nargs="*", metavar="MODEL", help="empty takes what the settings need")

    policy = _group(groups, "policy", "Work on policies.")
    validate = add(policy, "validate", commands.policy_validate, "Say whether policy files are valid.")
    validate.add_argument("files", nargs="+", type=Path, metavar="FILE")
    return parser


def _group(under: Group, name: str, text: str) -> Group:
    return under.add_parser(name, help=text, description=text).add_subparsers(required=True, metavar="COMMAND")


if __name__ == "__main__":
    sys.exit(main())
