"""Made-up examples where the alarming word misleads: hard benign prompts, their harmful twins,
and pairs that teach when a refusal is the better answer and when it is the worse one.

Everything is written for this project, from the word lists in phrases.yaml; nothing is copied from
a benchmark. The idea of contrast sets: Gardner 2020 (arXiv:2004.02709). The same seed gives the
same rows.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

_ASKING = (
    "How do I {}?",
    "how can i {}",
    "Can you explain how to {}?",
    "What is the best way to {}?",
    "Tell me how to {}.",
)
_LEAST_COMPANY = 8  # words around a prompt
_WINDOW_WORDS = (
    120  # of a prompt and its company: more could leave the encoder's window, of which training sees the first
)
_GIVEN = 0.6  # share of company that is of given sentences
_OPENINGS = tuple(form.split("{}", maxsplit=1)[0].lower() for form in _ASKING)


class _Family(BaseModel):
    """Templates with {slots}; every combination is one prompt."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    templates: tuple[str, ...]
    slots: dict[str, tuple[str, ...]]


class _Reply(BaseModel):
    """A reply is one opening, one middle and one end."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    opening: tuple[str, ...]
    middle: tuple[str, ...]
    end: tuple[str, ...]


class _Phrases(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    benign: tuple[_Family, ...]
    harmful: tuple[_Family, ...]
    everyday: tuple[str, ...]
    harmful_topics: tuple[str, ...]
    refusals: _Reply
    answers: _Reply
    compliances: _Reply
    fillers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MadePrompt:
    """`family` groups rows that share templates, so that a split never separates siblings."""

    text: str
    family: str
    harmful: bool


@dataclass(frozen=True, slots=True)
class MadePair:
    prompt: str
    chosen: str
    rejected: str


def made_prompts(seed: int, per_family: int) -> tuple[MadePrompt, ...]:
    """At most `per_family` distinct prompts of every family."""
    phrases = _phrases()
    rows = []
    for harmful, families in ((False, phrases.benign), (True, phrases.harmful)):
        for family in families:
            texts = _sample(_filled(family), per_family, f"{seed}:{family.name}")
            rows += [MadePrompt(text, family.name, harmful) for text in texts]
    return tuple(rows)


def everyday_prompts(seed: int, count: int) -> tuple[str, ...]:
    """Harmless how-to questions without any alarming word."""
    return _sample((form.format(task) for form in _ASKING for task in _phrases().everyday), count, f"{seed}:everyday")


def harmful_requests(seed: int, count: int) -> tuple[str, ...]:
    """Plain harmful requests over many topics, in several ways of asking."""
    topics = _phrases().harmful_topics
    return _sample((form.format(topic) for form in _ASKING for topic in topics), count, f"{seed}:harmful")


def answer_wins(seed: int, prompts: Sequence[str]) -> tuple[MadePair, ...]:
    """For harmless questions: an answer is chosen over a refusal."""
    chooser = _chooser(f"{seed}:answer")
    return tuple(MadePair(prompt, _answer(prompt, chooser), refusal_text(chooser)) for prompt in prompts)


def refusal_wins(seed: int, prompts: Sequence[str]) -> tuple[MadePair, ...]:
    """For harmful requests: a refusal is chosen over going along."""
    chooser = _chooser(f"{seed}:refusal")
    return tuple(MadePair(prompt, refusal_text(chooser), _compliance(prompt, chooser)) for prompt in prompts)


def in_company(seed: str, prompts: Sequence[str], sentences: Sequence[str] = ()) -> tuple[str, ...]:
    """Each prompt among ordinary sentences, before it, after it or both: from one up to about a window of them.

    They are our own and, more often, `sentences`; some are drawn one by one, some follow each other as given.
    """
    chooser = _chooser(seed)
    texts = []
    for prompt in prompts:
        ordinary = sentences if sentences and chooser.random() < _GIVEN else _phrases().fillers
        company = _company(chooser, ordinary, max(_LEAST_COMPANY + 1, _WINDOW_WORDS - len(prompt.split())))
        at = chooser.choice((0, len(company), chooser.randint(0, len(company))))
        texts.append(chooser.choice((" ", "\n")).join([*company[:at], prompt.strip(), *company[at:]]))
    return tuple(texts)


def _company(chooser: random.Random, sentences: Sequence[str], most_words: int) -> list[str]:
    """About as many words as drawn, all sizes alike on a logarithmic scale."""
    wanted = math.exp(chooser.uniform(math.log(_LEAST_COMPANY), math.log(most_words)))
    at = chooser.randrange(len(sentences)) if chooser.random() < 0.5 else None
    company: list[str] = []
    words = 0
    while words < wanted:
        following = chooser.randrange(len(sentences)) if at is None else (at + len(company)) % len(sentences)
        company.append(sentences[following])
        words += len(company[-1].split())
    return company


def refusal_text(chooser: random.Random) -> str:
    return _reply(_phrases().refusals, "", chooser)


def _answer(prompt: str, chooser: random.Random) -> str:
    return _reply(_phrases().answers, _topic(prompt), chooser)


def _compliance(prompt: str, chooser: random.Random) -> str:
    return _reply(_phrases().compliances, _topic(prompt), chooser)


def _reply(parts: _Reply, topic: str, chooser: random.Random) -> str:
    opening, middle, end = (chooser.choice(part) for part in (parts.opening, parts.middle, parts.end))
    return " ".join(piece for piece in (opening.replace("{}", topic), middle, end) if piece)


def _topic(prompt: str) -> str:
    """What a how-to question is about, so that a reply can take it up."""
    plain = prompt.strip().rstrip("?.! ")
    for opening in (*_OPENINGS, "how to "):
        if plain.lower().startswith(opening):
            return plain[len(opening) :]
    return "do this"


def _filled(family: _Family) -> Iterator[str]:
    for template in family.templates:
        names = [name for name in family.slots if "{" + name + "}" in template]
        for values in itertools.product(*(family.slots[name] for name in names)):
            yield template.format(**dict(zip(names, values, strict=True)))


def _sample(texts: Iterator[str], count: int, seed: str) -> tuple[str, ...]:
    distinct = sorted(set(texts))
    return tuple(_chooser(seed).sample(distinct, min(count, len(distinct))))


def _chooser(seed: str) -> random.Random:
    return random.Random(seed)  # noqa: S311 - sampling, not secrecy


@cache
def _phrases() -> _Phrases:
    text = (Path(__file__).parent / "phrases.yaml").read_text(encoding="utf-8")
    return _Phrases.model_validate(yaml.safe_load(text))
