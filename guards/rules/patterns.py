"""Operators' keywords and RE2 patterns, matched in linear time on the normalized text.

RE2 has neither look-around nor back-references, so no pattern can stall the server.
Source: https://github.com/google/re2/wiki/Syntax
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import re2
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from guards.base import Subject
from guards.errors import ConfigError
from guards.normalize import COMBINING_MARKS, normalize
from guards.types import Action, Finding, Span

# Longer texts are judged in a thread, so that the event loop never waits for one of them.
INLINE_CHARS = 4096
# After so many matches of one pattern the rest of the text counts as matched: the search restarts
# at each match, and a pattern such as `a.*b|a` would make that quadratic.
MAX_MATCHES = 10_000
_MAX_MEM = 16 << 20  # bytes RE2 may use for one pattern; beyond its cache it is slower, never wrong
_MAX_PROGRAM = 20_000  # RE2 instructions in one combined search; a word is about ten

# Scripts written without spaces (or, as Korean, with particles stuck to words): no whole words to ask for.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\U00020000-\U0003ffff]"
)
_TOKEN = re.compile(rf"(?:[^\W_]+|[{COMBINING_MARKS}]+)+|[^\s]")


def _as_action(value: object) -> object:
    if isinstance(value, str) and value.upper() in Action.__members__:
        value = Action[value.upper()]
    if value == Action.ALLOW:
        raise ValueError("a rule that found something cannot ALLOW; use flag, redact, replace, escalate or block")
    return value


# An action by name, in any case, as operators write it.
RuleAction = Annotated[Action, BeforeValidator(_as_action)]


class PatternConfig(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    category: str = Field(min_length=1)
    # Whole words or phrases in any case; a space stands for any white space.
    keywords: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    # RE2 syntax, case-sensitive unless it begins with (?i).
    patterns: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    action: RuleAction = Action.FLAG
    # Written over each match when the action is redact.
    replacement: str = "[REDACTED]"

    @model_validator(mode="after")
    def _looks_for_something(self) -> PatternConfig:
        if not self.keywords and not self.patterns:
            raise ValueError("name at least one keyword or pattern")
        return self


class PatternGuard:
    """One finding when any keyword or pattern matches, with the union of all matches as spans."""

    uses_scores = False

    def __init__(self, config: PatternConfig) -> None:
        self.name = config.name
        self._config = config
        spelled = [normalize(keyword).text for keyword in config.keywords]
        self._keywords = _Keywords([keyword for keyword in spelled if not _UNSPACED.search(keyword)])
        unspaced = [f"(?i){re2.escape(keyword)}" for keyword in spelled if _UNSPACED.search(keyword)]
        for index, pattern in enumerate(config.patterns):
            _check(config.name, index, pattern)
        self._patterns = _Patterns([*config.patterns, *unspaced])

    async def evaluate(self, subject: Subject) -> tuple[Finding, ...]:
        text = subject.text.text
        matches = self.find(text) if len(text) <= INLINE_CHARS else await asyncio.to_thread(self.find, text)
        if not matches:
            return ()
        config = self._config
        spans = spans_of(subject, matches)
        replacement = config.replacement if config.action is Action.REDACT else ""
        return (Finding(config.name, config.category, config.action, spans=spans, replacement=replacement),)

    def find(self, text: str) -> tuple[tuple[int, int], ...]:
        """Code points [start, end) of normalized `text` that match, in order, disjoint."""
        return _union([*self._keywords.find(text), *self._patterns.find(text)])


def spans_of(subject: Subject, matches: Iterable[tuple[int, int]]) -> tuple[Span, ...]:
    """The caller's spans of matches [start, end) in the subject's normalized text."""
    sources = (subject.text.source_span(start, end) for start, end in matches)
    return tuple(span for source in sources for span in subject.spans(*source))


def compile_re2(pattern: str, *, case_sensitive: bool = True, never_capture: bool = False) -> re2._Regexp:
    options = re2.Options()
    options.log_errors = False  # the error is raised; RE2 would also write the pattern to stderr
    options.max_mem = _MAX_MEM
    options.case_sensitive = case_sensitive
    options.never_capture = never_capture
    return re2.compile(pattern, options)


def _check(guard: str, index: int, pattern: str) -> None:
    try:
        compiled = compile_re2(pattern, never_capture=True)
    except re2.error as error:
        reason = error.args[0]
        reason = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise ConfigError(f"guard {guard!r}: patterns[{index}] is not RE2 syntax: {reason}") from None
    if compiled.search("") is not None:
        raise ConfigError(f"guard {guard!r}: patterns[{index}] matches the empty text; make it match something")


class _Patterns:
    """Patterns behind one combined search, since most texts match none."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._each = [compile_re2(pattern, never_capture=True) for pattern in patterns]
        self._any = _combined(patterns, [compiled.programsize for compiled in self._each])

    def find(self, text: str) -> Iterator[tuple[int, int]]:
        if not any(combined.search(text) for combined in self._any):
            return
        for pattern in self._each:
            for count, match in enumerate(pattern.finditer(text)):
                start, end = match.span()
                if count == MAX_MATCHES:
                    yield start, len(text)
                    break
                if start < end:
                    yield start, end


def _combined(patterns: Sequence[str], sizes: Sequence[int]) -> list[re2._Regexp]:
    """Alternations of bounded size. RE2's own Set would miss matches when out of memory; these slow down."""
    chunks: list[list[str]] = []
    room = 0
    for pattern, size in zip(patterns, sizes, strict=True):
        if size > room:
            chunks.append([])
            room = _MAX_PROGRAM
        chunks[-1].append(f"(?:{pattern})")
        room -= size
    return [compile_re2("|".join(chunk), never_capture=True) for chunk in chunks]


@dataclass(frozen=True, slots=True)
class _Token:
    text: str  # case-folded: a word, or one other visible character
    start: int
    end: int
    spaced: bool  # white space before it


class _Keywords:
    """Phrases by their first token, so the cost does not grow with the number of keywords."""

    def __init__(self, keywords: Sequence[str]) -> None:
        self._by_first: dict[str, list[tuple[_Token, ...]]] = {}
        for keyword in keywords:
            tokens = tuple(_tokens(keyword))
            if tokens:
                self._by_first.setdefault(tokens[0].text, []).append(tokens)

    def find(self, text: str) -> Iterator[tuple[int, int]]:
        if not self._by_first:
            return
        tokens = list(_tokens(text))
        for at, token in enumerate(tokens):
            for phrase in self._by_first.get(token.text, ()):
                found = tokens[at : at + len(phrase)]
                if len(found) == len(phrase) and all(map(_same, found[1:], phrase[1:])):
                    yield token.start, found[-1].end


def _same(found: _Token, wanted: _Token) -> bool:
    return found.text == wanted.text and found.spaced == wanted.spaced


def _tokens(text: str) -> Iterator[_Token]:
    before = 0
    for match in _TOKEN.finditer(text):
        start, end = match.span()
        yield _Token(match[0].casefold(), start, end, start > before)
        before = end


def _union(matches: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Overlapping matches become one."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(matches):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return tuple(merged)
