"""The bypass table: what the default policy still withholds of harmful requests in disguise, and what of harmless ones.

`python -m bench.evasion --out FILE` judges prompts that the heads have not learned from, as they are and under every
transformation of guards.probes: before (the raw text to the head of `--before`, or of the served one), normalized, and
with readings and the guard on disguises, as it is served. `--table FILE` writes docs/bypass.md's table from that file.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.bypass_table import write_table
from bench.judged import Judge, Outcome
from bench.machine import machine, versions
from bench.reports import give
from bench.unseen import HARMFUL, HARMLESS, unseen_prompts
from guards.learning.metrics import wilson
from guards.normalize import NORMALIZER_VERSION
from guards.probes.transformations.base import Transformation
from guards.probes.transformations.registry import TRANSFORMATIONS
from guards.probes.transformations.turn_split import turn_split
from guards.rewards.reward_model import RewardModel, load_reward_model
from guards.types import Message, Role, Scope, TextPart
from service.config import Settings, load_settings
from service.models import ModelCache
from service.reward_models import open_reward_model

_PAGE = Path(__file__).parents[1] / "docs" / "bypass.md"
_LONG = "window_padding"  # eight windows a text: fewer prompts of it
_LONG_SEVERITIES = (0.125, 0.5, 1.0)  # 1, 4 and 8 windows
_IN_TURNS = "turn_split"
_TURNS = {"turn_split, new turns": Scope.NEW_TURNS, "turn_split, whole conversation": Scope.WHOLE_CONVERSATION}

Judged = Callable[[Judge], list[Outcome]]


@dataclass(frozen=True, slots=True)
class Judges:
    before: Judge
    normalized: Judge
    served: Judge


def disguised(prompts: Sequence[str], transformation: Transformation, severity: float, seed: int) -> list[str]:
    """Each prompt has a generator of its own, so that no text depends on the others."""
    return [
        transformation.transform(prompt, random.Random(f"{seed}:{transformation.name}:{severity}:{index}"), severity)
        for index, prompt in enumerate(prompts)
    ]


def told_in_turns(prompts: Sequence[str], severity: float, seed: int) -> list[tuple[Message, ...]]:
    conversations = []
    for index, prompt in enumerate(prompts):
        messages = []
        for turn in turn_split(prompt, random.Random(f"{seed}:turn_split:{index}"), severity):
            messages.append(Message(Role.USER, (TextPart(turn.said),)))
            messages += [Message(Role.ASSISTANT, (TextPart(turn.reply),))] if turn.reply else []
        conversations.append(tuple(messages))
    return conversations


def measured(judges: Judges, judged: Judged) -> dict[str, Any]:
    before, normalized, served = judged(judges.before), judged(judges.normalized), judged(judges.served)
    return {
        "before": _share([one.withheld for one in before]),
        "normalized": _share([one.withheld for one in normalized]),
        "served": _share([one.withheld for one in served]),
        "flagged": _share([one.flagged for one in served]),
        "withheld_or_flagged": _share([one.withheld or one.flagged for one in served]),
        "by_reading": sum(one.by_reading for one in served),
    }


def _share(hits: Sequence[bool]) -> dict[str, Any]:
    share = wilson(sum(hits), len(hits))
    return {
        "share": round(share.value, 4),
        "low": round(share.low, 4),
        "high": round(share.high, 4),
        "count": sum(hits),
        "n": len(hits),
    }


def rows_of(
    judges: Judges, prompts: Sequence[str], long: int, severities: Sequence[float], seed: int, kinds: Container[str]
) -> dict[str, Any]:
    """By name and severity, those of `kinds`; the plain prompts under "clean", and the first `long` of them under
    "clean, long"."""
    rows = {
        "clean": {"": measured(judges, lambda judge: judge.texts(prompts))},
        "clean, long": {"": measured(judges, lambda judge: judge.texts(prompts[:long]))},
    }
    for name, one in TRANSFORMATIONS.items():
        if name not in kinds:
            continue
        some = prompts[:long] if name == _LONG else prompts
        rows[name] = {
            str(severity): _disguised_row(judges, some, one, severity, seed)
            for severity in (_LONG_SEVERITIES if name == _LONG else severities)
        }
    if _IN_TURNS in kinds:
        conversations = told_in_turns(prompts, 0.5, seed)
        for name, scope in _TURNS.items():
            rows[name] = {"0.5": _conversation_row(judges, conversations, scope)}
    return rows


def _disguised_row(
    judges: Judges, prompts: Sequence[str], one: Transformation, severity: float, seed: int
) -> dict[str, Any]:
    texts = disguised(prompts, one, severity, seed)
    return measured(judges, lambda judge: judge.texts(texts))


def _conversation_row(judges: Judges, conversations: Sequence[Sequence[Message]], scope: Scope) -> dict[str, Any]:
    return measured(judges, lambda judge: judge.conversations(conversations, scope))


def _open(settings: Settings, artefact: Path | None) -> RewardModel:
    """The served model, or the heads in a folder on the same encoder, with torch: they have no exported graph."""
    if artefact is None:
        return open_reward_model(settings)
    return load_reward_model(artefact, ModelCache(settings.model_cache).path(settings.scoring.encoder), runtime="torch")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    settings = load_settings(options.config)
    model = _open(settings, options.artefact)
    older = _open(settings, options.before) if options.before else model
    normalized = Judge(model, readings=False)
    judges = Judges(
        before=Judge(older, normalization=False, readings=False, seen={} if options.before else normalized.seen),
        normalized=normalized,
        served=Judge(model, seen=normalized.seen),
    )
    sides: Mapping[str, Sequence[str]] = {
        "harmful": unseen_prompts(HARMFUL, 1, options.harmful, options.seed),
        "harmless": unseen_prompts(HARMLESS, 0, options.harmless, options.seed),
    }
    return {
        "model": model.identity.digest,
        "before": older.identity.digest,
        "normalizer": NORMALIZER_VERSION,
        "policy": judges.served.policy.digest,
        "seed": options.seed,
        "sources": {"harmful": HARMFUL, "harmless": HARMLESS},
        **{
            side: rows_of(judges, prompts, options.long, options.severity, options.seed, options.kinds)
            for side, prompts in sides.items()
        },
        "families": {name: one.family for name, one in TRANSFORMATIONS.items()},
        "machine": machine(),
        "versions": versions(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.evasion", description=__doc__)
    parser.add_argument("--config", type=Path, help="settings of another model or runtime")
    parser.add_argument("--artefact", type=Path, help="a folder of heads instead of the served ones")
    parser.add_argument("--before", type=Path, help="a folder of heads trained without disguises, for the first column")
    parser.add_argument("--harmful", type=int, default=250, help="prompts")
    parser.add_argument("--harmless", type=int, default=500, help="prompts")
    parser.add_argument("--long", type=int, default=50, help="prompts of each kind under window_padding")
    parser.add_argument("--severity", type=float, nargs="+", default=[1.0])
    kinds = (*TRANSFORMATIONS, _IN_TURNS)
    parser.add_argument(
        "--kinds", nargs="+", choices=kinds, default=kinds, metavar="KIND", help="some rows only, and the clean ones"
    )
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, help="a file for the JSON instead of standard output")
    parser.add_argument(
        "--table", type=Path, help=f"write the table of {_PAGE.name} from this JSON and measure nothing"
    )
    options = parser.parse_args()
    if options.table:
        write_table(_PAGE, json.loads(options.table.read_text()))
        return
    give(measure(options), options.out)


if __name__ == "__main__":
    main()
