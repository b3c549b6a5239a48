"""Rows of training and evaluation files: JSON Lines, plain or gzip.

Three shapes, told apart by their fields:
  pair      {messages, chosen, rejected}
  response  {messages, response, label}    label 1 = unsafe
  prompt    {prompt | text, label}         label 1 = risky
A label may lie between 0 and 1: the share of readers who would call the text unsafe. Training takes it as it is; where
one class is meant, .5 and above is unsafe.
`source` is optional; without it a row belongs to its file. So are `category` (or `kind`), by which figures are told
apart, and of a pair `half`: "safe" where an answer should beat a refusal, "unsafe" where the refusal should win.
Other fields are ignored.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from guards.errors import InvalidInput

_UNCLEAR = 0.25, 0.75  # shares of readers between which a row is of neither class


@dataclass(frozen=True, slots=True)
class Labelled:
    """One judged text; `response` is None for a prompt. `label` 1 is unsafe, 0 is safe.

    `prompt` of a response is the conversation before it, as `conversation` joins it.
    """

    prompt: str
    response: str | None
    label: int
    source: str
    category: str = ""
    cluster: str = ""  # the conversation's first turn, as a digest: rows that share it are not independent
    graded: float | None = None  # the label before it was rounded, where it lay between: P(unsafe) in (0, 1)

    @property
    def target(self) -> float:
        """What is learned: P(unsafe) in [0, 1]."""
        return float(self.label) if self.graded is None else self.graded

    @property
    def clear(self) -> bool:
        """Whether readers agree enough for figures: a row on which they do not teaches, and measures nothing."""
        return self.graded is None or not _UNCLEAR[0] < self.graded < _UNCLEAR[1]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two responses to one prompt; `chosen` is the better one."""

    prompt: str
    chosen: str
    rejected: str
    source: str
    category: str = ""
    half: str = ""  # "safe", "unsafe", or empty for an ordinary preference or one that does not say
    cluster: str = ""


Row = Labelled | Pair


def read_rows(path: Path, unlabelled: int | None = None) -> tuple[Row, ...]:
    """Every row of one file. Raises InvalidInput with file:line for the first bad one.

    `unlabelled` is the label of rows that state none; by default they must.
    """
    source = path.name.split(".", maxsplit=1)[0]
    rows = []
    with _open(path) as file:
        for number, line in _lines(file, path):
            if not line.strip():
                continue
            where = f"{path}:{number}"
            try:
                rows.append(_row(json.loads(line), source, unlabelled))
            except json.JSONDecodeError as error:
                raise InvalidInput(f"{where}: not a JSON object ({error.msg})") from error
            except _BadRowError as error:
                raise InvalidInput(f"{where}: {error}") from None
    if not rows:
        raise InvalidInput(f"{path}: holds no rows")
    return tuple(rows)


class _BadRowError(ValueError):
    """Says what is wrong with a row, without its text."""


def _open(path: Path) -> TextIO:
    try:
        if path.suffix == ".gz":
            return gzip.open(path, "rt", encoding="utf-8")
        return path.open(encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}") from error


def _lines(file: TextIO, path: Path) -> Iterator[tuple[int, str]]:
    try:
        yield from enumerate(file, start=1)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: not UTF-8 JSON Lines, plain or gzip") from error


def _row(fields: object, source: str, unlabelled: int | None = None) -> Row:
    if not isinstance(fields, dict):
        raise _BadRowError("not a JSON object")
    source = _text(fields, "source") if "source" in fields else source
    category = _category(fields)
    if "chosen" in fields:
        answers = _text(fields, "chosen"), _text(fields, "rejected")
        prompt = conversation(fields.get("messages"))
        return Pair(prompt, *answers, source, category, _half(fields), _cluster(fields))
    if "response" in fields:
        prompt, response = conversation(fields.get("messages")), _text(fields, "response")
        label, graded = _label(fields, unlabelled)
        return Labelled(prompt, response, label, source, category, _cluster(fields), graded)
    if "prompt" in fields or "text" in fields:
        prompt = _text(fields, "prompt" if "prompt" in fields else "text")
        label, graded = _label(fields, unlabelled)
        return Labelled(prompt, None, label, source, category, graded=graded)
    raise _BadRowError('needs "chosen" and "rejected", or "response", or "prompt" or "text"')


def conversation(messages: object) -> str:
    """All turns but the system's, joined by newlines: what a response is judged after when serving."""
    if not isinstance(messages, Sequence) or isinstance(messages, str) or not messages:
        raise _BadRowError('"messages" must be a non-empty list')
    turns: list[str] = []
    for message in messages:
        if not isinstance(message, dict):
            raise _BadRowError('each of "messages" must be an object with role and content')
        role, content = _text(message, "role"), _text(message, "content")
        if role != "system":
            turns.append(content)
    return "\n".join(turns)


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise _BadRowError(f'"{name}" must be a string')
    return value


def _label(fields: dict[str, Any], unlabelled: int | None) -> tuple[int, float | None]:
    """The class, and the label itself where it lies between the two."""
    value = fields.get("label", unlabelled)
    if not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise _BadRowError('"label" must be 0, 1 or a number between')
    return int(value >= 0.5), float(value) if 0 < value < 1 else None


def _category(fields: dict[str, Any]) -> str:
    """Empty where there is none, or one that is no name: a category only sorts figures."""
    return next((fields[name] for name in ("category", "kind") if isinstance(fields.get(name), str)), "")


def _cluster(fields: dict[str, Any]) -> str:
    """Of checked messages."""
    first = next((message["content"] for message in fields["messages"] if message["role"] == "user"), "")
    return hashlib.sha256(first.encode(errors="surrogatepass")).hexdigest()[:16]


def _half(fields: dict[str, Any]) -> str:
    value = fields.get("half") or ""
    if value not in ("", "safe", "unsafe"):
        raise _BadRowError('"half" must be "safe" or "unsafe"')
    return str(value)
