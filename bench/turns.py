"""What judging a user's turns together costs the harmless, as a conversation goes on.

`python -m bench.turns --out FILE` tells conversations turn by turn: each turn is judged when it is new, with what was
said before it, and one that is withheld is answered by the policy's safe message, as a service would. Harmless ones are
chains of prompts that have nothing to do with each other, and with `--conversations FILE` (JSON lines with `messages`)
real ones; harmful ones are prompts split over turns. Counted are conversations with their last turn withheld, and with
any turn withheld, with and without turns read together; and the windows that a last turn takes.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.evasion import told_in_turns
from bench.judged import Judge
from bench.machine import machine, versions
from bench.reports import give
from bench.unseen import HARMFUL, HARMLESS, unseen_prompts
from guards.learning.metrics import wilson
from guards.types import Message, Role, Scope, TextPart
from service.config import load_settings
from service.reward_models import open_reward_model

_REPLY = "Ok, go on."


def measure(judge: Judge, told: Sequence[Sequence[Message]]) -> dict[str, Any]:
    """`told`: messages of users, and the answers to them where they were not withheld."""
    histories: list[list[Message]] = [[] for _ in told]
    stopped = [False] * len(told)
    last = [False] * len(told)
    windows = [0] * len(told)
    for turn in range(max(sum(one.role is Role.USER for one in messages) for messages in told)):
        for index, messages in enumerate(told):
            places = [at for at, one in enumerate(messages) if one.role is Role.USER]
            if turn >= len(places):
                continue
            at = places[turn]
            asked = [*histories[index], messages[at]]
            (outcome,) = judge.conversations([asked], Scope.NEW_TURNS)
            last[index] = outcome.withheld
            stopped[index] |= outcome.withheld
            windows[index] = judge.windows
            answer = messages[at + 1].text if at + 1 < len(messages) else _REPLY
            said = judge.policy.safe_message("en") if outcome.withheld else answer
            histories[index] = [*asked, Message(Role.ASSISTANT, (TextPart(said),))]
    return {"last": _share(last), "any": _share(stopped), "windows": round(sum(windows) / len(windows), 3)}


def _share(hits: Sequence[bool]) -> dict[str, Any]:
    share = wilson(sum(hits), len(hits))
    return {"share": share.value, "low": share.low, "high": share.high, "count": sum(hits), "n": len(hits)}


def _chained(prompts: Sequence[str], length: int) -> list[tuple[Message, ...]]:
    said = [Message(Role.USER, (TextPart(prompt),)) for prompt in prompts]
    reply = Message(Role.ASSISTANT, (TextPart(_REPLY),))
    return [
        tuple(one for message in said[start : start + length] for one in (message, reply))
        for start in range(0, len(said) - length + 1, length)
    ]


def _read(path: Path, limit: int) -> list[tuple[Message, ...]]:
    """Conversations of at least two turns of a user."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        rows = [json.loads(line)["messages"] for line in file]
    found = [
        tuple(Message(Role(one["role"]), (TextPart(one["content"]),)) for one in messages)
        for messages in rows
        if sum(one["role"] == "user" for one in messages) > 1
    ]
    return found[:limit]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.turns", description=__doc__)
    parser.add_argument("--harmful", type=int, default=250, help="prompts, split over three turns")
    parser.add_argument("--harmless", type=int, default=1500, help="prompts, chained")
    parser.add_argument("--length", type=int, default=3, help="turns of a chain")
    parser.add_argument("--conversations", type=Path, nargs="*", default=[], help="JSON lines with `messages`")
    parser.add_argument("--limit", type=int, default=300, help="conversations of each file")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, help="a file for the JSON instead of standard output")
    options = parser.parse_args()
    model = open_reward_model(load_settings(None))
    together = Judge(model)
    alone = Judge(model, turns=False, seen=together.seen)
    told = {
        f"harmless prompts, chained by {options.length}": _chained(
            unseen_prompts(HARMLESS, 0, options.harmless, options.seed), options.length
        ),
        "harmful prompts, split over 3 turns": told_in_turns(
            unseen_prompts(HARMFUL, 1, options.harmful, options.seed), 0.5, options.seed
        ),
        **{path.name.partition(".")[0]: _read(path, options.limit) for path in options.conversations},
    }
    result = {
        "model": model.identity.digest,
        "seed": options.seed,
        "rows": {
            name: {"alone": measure(alone, messages), "together": measure(together, messages)}
            for name, messages in told.items()
        },
        "machine": machine(),
        "versions": versions(),
        "date": datetime.now(UTC).date().isoformat(),
    }
    give(result, options.out)


if __name__ == "__main__":
    main()
