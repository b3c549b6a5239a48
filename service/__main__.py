"""The `wardgate` command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TypeAlias

from guards.errors import WardgateError
from service import commands, learning_commands
from service.explaining.commands import add_explain
from service.probing.parser import add_probe, add_remote_probe
from service.remote import add_server_options

Command: TypeAlias = Callable[[argparse.Namespace], int]
Add: TypeAlias = "Callable[[Group, str, Command, str], argparse.ArgumentParser]"
Group: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

SUITE = "evaluate suite"
OPTIONAL = {"accelerate", "gguf", "matplotlib", "onnx", "scipy", "sklearn", "torch", "transformers"}


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when done, 2 for a fault of input or configuration, 3 for a failed gate, 1 for anything else that stops it."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:2] == SUITE.split():
        words[:2] = [SUITE]  # a command of two words beside `evaluate FILE`; a file of that name is ./suite
    options = _parser().parse_args(words)
    run: Command = options.run
    try:
        return run(options)
    except WardgateError as error:
        print(f"wardgate: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        if missing not in OPTIONAL:
            raise
        print(
            f"wardgate: this needs {missing}; take the image `full`, or install wardgate[local,train]", file=sys.stderr
        )
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

    check = add(groups, "check", commands.check, "Judge one text, in this process or by a running server.")
    check.add_argument("text", help="what a user says")
    check.add_argument("--response", action="append", default=[], metavar="TEXT", help="a response to judge too")
    check.add_argument("--policy", default="", metavar="NAME", help="policy by name; empty takes the default")
    check.add_argument("--scores", action="store_true", help="show every head's score")
    add_server_options(check, default="")

    add_explain(lambda name, run, text: add(groups, name, run, text))
    _add_measuring(groups, add)
    _add_training(groups, add)

    models = _group(groups, "models", "Fetch and check models.")
    pull = add(models, "pull", commands.models_pull, "Fetch models into the cache, and export the reward model.")
    pull.add_argument("names", nargs="*", metavar="MODEL", help="empty takes what the settings need")
    pull.add_argument("--quiet", action="store_true", help="no progress bars")
    add(models, "list", commands.models_list, "List models and their state.")
    verify = add(models, "verify", commands.models_verify, "Check every byte of models.")
    verify.add_argument("names", nargs="*", metavar="MODEL", help="empty takes what the settings need")

    _add_rollout(models)
    probe = _group(groups, "probe", "Try how easily the guard is fooled.")
    add_probe(probe, add)
    add_remote_probe(probe, _server_options())

    _add_store(groups, add)

    policy = _group(groups, "policy", "Work on policies.")
    validate = add(policy, "validate", commands.policy_validate, "Say whether policy files are valid.")
    validate.add_argument("files", nargs="+", type=Path, metavar="FILE")
    return parser


def _add_measuring(groups: Group, add: Add) -> None:
    evaluate = add(groups, "evaluate", learning_commands.evaluate, "Measure a head on a labelled JSON Lines file.")
    evaluate.add_argument("file", type=Path, help=".jsonl or .jsonl.gz; the row shapes are in docs/reward-model.md")
    evaluate.add_argument("--head", required=True, metavar="NAME")
    evaluate.add_argument("--json", action="store_true", help="print one JSON object")

    suite = add(groups, SUITE, learning_commands.evaluate_suite, "Measure a recipe's heads on sources they never saw.")
    suite.add_argument("--recipe", type=Path, default=Path("recipes/reward.yaml"), metavar="FILE")
    suite.add_argument("--seeds", type=int, default=3, metavar="N", help="how many models to train and measure")
    suite.add_argument(
        "--scores", type=Path, metavar="FILE", help="held-out scores: read where it exists, else kept there"
    )
    suite.add_argument("--out", type=Path, metavar="FILE", help="where the HTML report goes")
    suite.add_argument("--json", type=Path, metavar="FILE", help="where every figure goes as JSON")
    suite.add_argument("--gate-file", type=Path, metavar="FILE", help="goals of your own; guards/learning/gates.yaml")
    suite.add_argument("--gate", action="store_true", help="exit with 3 where a gate fails")

    calibrate = add(groups, "calibrate", learning_commands.calibrate, "Choose a guard's threshold from benign texts.")
    calibrate.add_argument("--policy", required=True, metavar="NAME", help="whose guard it is for")
    calibrate.add_argument(
        "--guard",
        default="",
        metavar="NAME",
        help="needed when the policy has several reward guards on the side that the texts are of",
    )
    calibrate.add_argument("--benign", type=Path, required=True, metavar="FILE", help="JSON Lines of harmless texts")
    calibrate.add_argument("--target-block-rate", type=float, default=0.01, metavar="SHARE", help="default 0.01")
    calibrate.add_argument("--confidence", type=float, default=0.95, metavar="P", help="default 0.95")
    calibrate.add_argument("--labelled", type=Path, metavar="FILE", help="safe and unsafe rows, to fit the risk itself")
    calibrate.add_argument("--name", default="", metavar="NAME", help="as policies say it; default POLICY-GUARD")
    calibrate.add_argument(
        "--out", type=Path, metavar="FOLDER", help="default calibrations.directory, else ./calibrations"
    )
    calibrate.add_argument("--valid-days", type=int, default=90, metavar="DAYS", help="then it expires; default 90")
    calibrate.add_argument("--seed", type=int, default=0)
    calibrate.add_argument("--json", action="store_true", help="print one JSON object")


def _add_training(groups: Group, add: Add) -> None:
    train = _group(groups, "train", "Train heads.")
    reward = add(train, "reward", learning_commands.train_reward, "Train reward heads from a recipe.")
    reward.add_argument("--recipe", type=Path, default=Path("recipes/reward.yaml"), metavar="FILE")
    reward.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the heads and manifest go")
    reward.add_argument(
        "--seeds", type=int, default=1, metavar="N", help="of the held-out figures; 3 takes 3 times as long"
    )

    answers = add(
        train, "answers", learning_commands.train_answers, "Let the wrapped model answer harmless prompts, as rows."
    )
    answers.add_argument("--prompts", type=Path, nargs="+", required=True, metavar="FILE", help="prompts with labels")
    answers.add_argument("--out", type=Path, required=True, metavar="FILE", help="gzip JSON Lines")
    answers.add_argument("--limit", type=int, default=300, metavar="N")
    answers.add_argument("--max-tokens", type=int, default=96, metavar="N")
    answers.add_argument("--seed", type=int, default=7)


def _add_rollout(models: Group) -> None:
    from service.rollout import commands as rollout

    server = _server_options()
    group = _group(models, "rollout", "See and change which version of the reward model serves.")

    def add(name: str, run: Command, text: str) -> argparse.ArgumentParser:
        command = group.add_parser(name, parents=[server], help=text, description=text)
        command.set_defaults(run=run)
        return command

    add("list", rollout.list_rollout, "List the versions and what each does.")
    give = add("set", rollout.set_rollout, "Give a version a stage, once it is loaded and proven.")
    give.add_argument("model", metavar="MODEL", help="version, digest, or the first 8 characters of one")
    give.add_argument("--stage", required=True, choices=["none", "shadow", "canary", "active"])
    give.add_argument("--percent", type=float, metavar="N", help="of the sessions, for a canary: 0.01 to 100")
    add("rollback", rollout.roll_back, "Make the version active that was before.")


def _add_store(groups: Group, add: Add) -> None:
    from service.store import commands as store

    group = _group(groups, "store", "See and migrate the database that the service remembers in.")
    add(group, "migrate", store.migrate, "Bring the database to this program's revision; serving does so too.")
    status = add(group, "status", store.status, "Say where the database is, its revision, and what it holds.")
    status.add_argument("--json", action="store_true", help="print one JSON object")


def _server_options() -> argparse.ArgumentParser:
    server = argparse.ArgumentParser(add_help=False)
    add_server_options(server)
    return server


def _group(under: Group, name: str, text: str) -> Group:
    return under.add_parser(name, help=text, description=text).add_subparsers(required=True, metavar="COMMAND")


if __name__ == "__main__":
    sys.exit(main())
