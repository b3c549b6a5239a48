"""Scores of held-out rows, and the file that keeps them: numbers and names, never a text.

The file is gzip JSON Lines. The first line says what was scored and by what; every other line is one
row or pair, as a list in the order of its dataclass's fields. A report is made again from it without training.
"""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from guards.errors import InvalidInput

HALVES = ("", "safe", "unsafe")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ScoredRow:
    """One labelled text, scored by a model that never saw its source.

    `label` 1 is unsafe; `reward` is a logit, higher is better; `risk` is P(unsafe) in [0, 1].
    """

    head: str
    source: str
    category: str
    label: int
    tokens: int
    reward: float
    risk: float
    seed: int


@dataclass(frozen=True, slots=True)
class ScoredPair:
    """The rewards of a better and a worse answer to one prompt.

    `half` is "safe" where an answer should beat a refusal, "unsafe" where the refusal should win, and
    empty for an ordinary preference.
    """

    head: str
    source: str
    category: str
    half: str
    chosen: float
    rejected: float
    chosen_tokens: int
    rejected_tokens: int
    seed: int


@dataclass(frozen=True)
class HeldOutScores:
    """Every seed scores the same rows and pairs of a head, in the same order."""

    rows: tuple[ScoredRow, ...]
    pairs: tuple[ScoredPair, ...]
    thresholds: Mapping[str, float]  # by head: the risk from which the default policy withholds
    seeds: tuple[int, ...]
    model: str
    recipe_sha256: str

    @property
    def heads(self) -> tuple[str, ...]:
        """In the order of their first row, heads with labels first."""
        return tuple(dict.fromkeys([*(row.head for row in self.rows), *(pair.head for pair in self.pairs)]))


class _Header(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    format: Literal["wardgate.heldout/1"] = "wardgate.heldout/1"
    model: str
    recipe_sha256: str
    seeds: tuple[int, ...] = Field(min_length=1)
    thresholds: dict[str, Annotated[float, Field(ge=0, le=1)]]
    rows: int = Field(ge=0)  # how many lines of each kind follow, so that a cut file is noticed
    pairs: int = Field(ge=0)


def save_scores(scores: HeldOutScores, path: Path) -> None:
    """The same scores give the same bytes."""
    header = _Header(
        model=scores.model,
        recipe_sha256=scores.recipe_sha256,
        seeds=scores.seeds,
        thresholds=dict(scores.thresholds),
        rows=len(scores.rows),
        pairs=len(scores.pairs),
    )
    lines = [header.model_dump_json()]
    for row in scores.rows:
        lines.append(_line(row.head, row.source, row.category, row.label, row.tokens, row.reward, row.risk, row.seed))
    for pair in scores.pairs:
        named = (pair.head, pair.source, pair.category, pair.half)
        lines.append(_line(*named, pair.chosen, pair.rejected, pair.chosen_tokens, pair.rejected_tokens, pair.seed))
    path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode(), mtime=0))


def load_scores(path: Path) -> HeldOutScores:
    """Raises InvalidInput that names the file and line."""
    lines = _lines(path)
    try:
        header = _Header.model_validate_json(next(lines, ""))
    except ValidationError as error:
        raise InvalidInput(f"{path}:1: not the head of a file of held-out scores; make it again") from error
    rows: list[ScoredRow] = []
    pairs: list[ScoredPair] = []
    for number, line in enumerate(lines, start=2):
        try:
            if len(rows) < header.rows:
                rows.append(_row(line))
            else:
                pairs.append(_pair(line))
        except (ValueError, TypeError) as error:
            raise InvalidInput(f"{path}:{number}: not a line of scores; make the file again") from error
    if (len(rows), len(pairs)) != (header.rows, header.pairs):
        raise InvalidInput(f"{path} is cut short or too long; make it again")
    return HeldOutScores(tuple(rows), tuple(pairs), header.thresholds, header.seeds, header.model, header.recipe_sha256)


def _line(*values: object) -> str:
    return json.dumps(values, allow_nan=False, separators=(",", ":"))


def _lines(path: Path) -> Iterator[str]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            yield from file
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot read {path} as gzip JSON Lines of scores") from error


def _row(line: str) -> ScoredRow:
    head, source, category, label, tokens, reward, risk, seed = _values(line)
    row = ScoredRow(
        _text(head),
        _text(source),
        _text(category),
        _whole(label),
        _whole(tokens),
        _number(reward),
        _number(risk),
        _whole(seed),
    )
    if row.label not in (0, 1) or row.tokens < 0 or not 0.0 <= row.risk <= 1.0:
        raise ValueError("out of range")
    return row


def _pair(line: str) -> ScoredPair:
    head, source, category, half, chosen, rejected, chosen_tokens, rejected_tokens, seed = _values(line)
    pair = ScoredPair(
        _text(head),
        _text(source),
        _text(category),
        _text(half),
        _number(chosen),
        _number(rejected),
        _whole(chosen_tokens),
        _whole(rejected_tokens),
        _whole(seed),
    )
    if pair.half not in HALVES or pair.chosen_tokens < 0 or pair.rejected_tokens < 0:
        raise ValueError("out of range")
    return pair


def _values(line: str) -> list[Any]:
    values = json.loads(line, parse_constant=_refuse)
    if not isinstance(values, list):
        raise ValueError("not a list")
    return values


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)  # NaN and Infinity are no scores


def _checked(value: object, kind: type[T], fits: Callable[[T], bool] = lambda value: True) -> T:
    if not isinstance(value, kind) or isinstance(value, bool) or not fits(value):
        raise TypeError(f"not a {kind.__name__}")
    return value


def _text(value: object) -> str:
    return _checked(value, str)


def _whole(value: object) -> int:
    return _checked(value, int)


def _number(value: object) -> float:
    return _checked(float(value) if isinstance(value, int) else value, float, math.isfinite)
