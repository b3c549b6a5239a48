"""From a recipe to the examples of each head: read, draw, make up, deduplicate."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from guards.errors import InvalidInput
from guards.learning.contrast import (
    answer_wins,
    everyday_prompts,
    harmful_requests,
    in_company,
    made_prompts,
    refusal_text,
    refusal_wins,
)
from guards.learning.data import Labelled, Pair, Row, read_rows
from guards.learning.recipe import (
    ALONE,
    COMPANY,
    DISGUISED,
    MADE_ANSWERS,
    MADE_REFUSALS,
    READ_REFUSALS,
    DataFile,
    Disguise,
    Made,
    Recipe,
    origin,
)
from guards.probes.transformations.registry import augment
from guards.rewards.manifest import TrainingFile, file_sha256
from guards.rewards.sentences import pieces_of

MADE_LICENCE = "Apache-2.0 (made by guards/learning/contrast.py)"


@dataclass(frozen=True)
class Corpus:
    prompts: tuple[Labelled, ...]
    responses: tuple[Labelled, ...]
    pairs: tuple[Pair, ...]
    files: tuple[TrainingFile, ...]


def load_corpus(recipe: Recipe, base: Path) -> Corpus:
    """Every example, in an order that depends on the recipe and the files alone."""
    rows: list[Row] = []
    files = []
    for file in recipe.files:
        path = base / file.path
        drawn = _drawn(_parted(_read(path), file.parts), file, recipe.seed)
        rows += drawn
        name = (Path("data") / path.name).as_posix()
        files.append(TrainingFile(path=name, sha256=file_sha256(path), rows=len(drawn), licence=file.licence))
    made = _made(rows, recipe.made, recipe.seed)
    made += _disguised([*rows, *made], recipe.disguise, recipe.seed)
    files.append(TrainingFile(path="made", sha256=_rows_digest(made), rows=len(made), licence=MADE_LICENCE))
    distinct = _distinct([*rows, *made])
    labelled = [row for row in distinct if isinstance(row, Labelled)]
    return Corpus(
        prompts=tuple(row for row in labelled if row.response is None),
        responses=tuple(row for row in labelled if row.response is not None),
        pairs=tuple(row for row in distinct if isinstance(row, Pair)),
        files=tuple(files),
    )


def _read(path: Path) -> tuple[Row, ...]:
    if not path.exists():
        raise InvalidInput(f"the recipe names {path}, which does not exist")
    return read_rows(path)


def _parted(rows: Sequence[Row], parts: int) -> Sequence[Row]:
    """Each source as several, so that one part can be held out while the others are learned from."""
    if parts == 1:
        return rows
    return [replace(row, source=f"{row.source}#{int(row.cluster or '0', 16) % parts + 1}") for row in rows]


def _drawn(rows: Sequence[Row], file: DataFile, seed: int) -> list[Row]:
    """Of each source, and of each label of it, a capped sample in file order."""
    groups: dict[tuple[str, int], list[int]] = {}
    for index, row in enumerate(rows):
        if origin(row.source) not in file.exclude:
            groups.setdefault((row.source, row.label if isinstance(row, Labelled) else 0), []).append(index)
    kept: set[int] = set()
    for (source, label), members in sorted(groups.items()):
        cap = file.caps.get(origin(source), file.cap)
        kept.update(_chooser(f"{seed}:{source}:{label}").sample(members, min(cap, len(members))))
    return [row for index, row in enumerate(rows) if index in kept]


def _made(rows: Sequence[Row], made: Made, seed: int) -> list[Row]:
    """Contrast prompts, and replies to them and to the prompts that were read."""
    families = made_prompts(seed, made.prompts_per_family)
    everyday, requests = everyday_prompts(seed, made.everyday), harmful_requests(seed, made.harmful_requests)
    result: list[Row] = [Labelled(row.text, None, int(row.harmful), row.family) for row in families]
    result += [Labelled(text, None, 0, "everyday") for text in everyday]
    result += [Labelled(text, None, 1, "harmful_requests") for text in requests]
    benign = {row.text: row.family for row in families if not row.harmful}
    harmful = {row.text: row.family for row in families if row.harmful}
    result += _answers(seed, MADE_ANSWERS, dict.fromkeys(everyday, "everyday") | benign)
    result += _refusals(seed, MADE_REFUSALS, dict.fromkeys(requests, "harmful_requests") | harmful)
    read: dict[str, list[str]] = {}
    for row in rows:
        if isinstance(row, Labelled) and row.response is None and row.label == 1 and len(row.prompt) < 300:
            read.setdefault(row.source, []).append(row.prompt)
    for source, prompts in sorted(read.items()):
        if source in PLAIN_REQUESTS:
            sample = _chooser(f"{seed}:pairs:{source}").sample(prompts, min(made.pairs_per_source, len(prompts)))
            result += _refusals(seed, READ_REFUSALS, dict.fromkeys(sample, source))
    asking = (*PLAIN_REQUESTS, *WRITTEN_REQUESTS, "harmful_requests", *{row.family for row in families if row.harmful})
    company = _in_company([*rows, *result], asking, _sentences(rows, made), made.in_company_per_source, seed)
    pairs = [*_answered(rows, made, seed), *_over_refusals(rows, seed), *_by_question(rows, seed)]
    return [*result, *company, *_alone([*rows, *pairs], made, seed), *pairs]


def _in_company(
    rows: Sequence[Row], asking: Sequence[str], sentences: Sequence[str], count: int, seed: int
) -> list[Row]:
    """Short prompts, harmless ones and those of the sources that ask for harm outright, among ordinary sentences."""
    groups: dict[tuple[str, int], list[str]] = {}
    for row in rows:
        if not isinstance(row, Labelled) or row.response is not None or len(row.prompt) >= 300:
            continue
        if row.label == 0 or row.source in asking:
            groups.setdefault((row.source, row.label), []).append(row.prompt)
    result: list[Row] = []
    for (source, label), prompts in sorted(groups.items()):
        name = f"{seed}:company:{source}:{label}"
        sample = _chooser(name).sample(prompts, min(count, len(prompts)))
        result += [Labelled(text, None, label, source + COMPANY) for text in in_company(name, sample, sentences)]
    return result


def _alone(rows: Sequence[Row], made: Made, seed: int) -> list[Row]:
    """Single sentences of harmless texts are harmless; of harmful ones nobody knows which."""
    groups: dict[str, set[str]] = {}
    for row in rows:
        if not isinstance(row, Labelled) or row.label or "+" in row.source:
            continue
        text = row.prompt if row.response is None else row.response
        if row.response is None or origin(row.source) in made.sentences_of_replies:
            pieces = [piece.strip() for piece in pieces_of(text)]
            groups.setdefault(row.source, set()).update(pieces if len(pieces) > 1 else ())
    result: list[Row] = []
    for source, found in sorted(groups.items()):
        whole = sorted(piece for piece in found if _SENTENCE[0] <= len(piece) <= _SENTENCE[1])
        chooser = _chooser(f"{seed}:alone:{source}")
        sample = chooser.sample(whole, min(made.sentences_per_source, len(whole)))
        result += [Labelled(text, None, 0, source + ALONE) for text in sample]
    return result


def _sentences(rows: Sequence[Row], made: Made) -> tuple[str, ...]:
    """Of the language model's answers to harmless prompts, in an order that does not depend on that of the rows."""
    answers = [
        row.response
        for row in rows
        if isinstance(row, Labelled) and row.response is not None and row.source in made.answer_sources
    ]
    found = {piece.strip() for answer in answers for piece in _SENTENCE_END.split(answer)}
    return tuple(sorted(piece for piece in found if 30 < len(piece) < 200 and "\n" not in piece))


# sources whose risky prompts ask for harm outright, so that a refusal is the right answer
PLAIN_REQUESTS = (
    "advbench",
    "catqa",
    "gptfuzz_questions",
    "harmfulqa",
    "maliciousinstruct",
    "strongreject",
    "tdc2023",
)
WRITTEN_REQUESTS = ("written_a", "written_b", "written_daily")  # so do these, beside harmless ones that sound alike
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_SENTENCE = 15, 250  # code points of one that is learned from alone


def _disguised(rows: Sequence[Row], disguise: Disguise, seed: int) -> list[Row]:
    """Some prompts of every source and label once more, under one evasion technique each."""
    groups: dict[tuple[str, int], list[Labelled]] = {}
    for row in rows:
        if isinstance(row, Labelled) and row.response is None and "+" not in row.source and len(row.prompt) < 300:
            groups.setdefault((row.source, row.label), []).append(row)
    result: list[Row] = []
    for (source, label), members in sorted(groups.items()):
        chooser = _chooser(f"{seed}:disguise:{source}:{label}")
        for row in chooser.sample(members, min(disguise.per_source, len(members))):
            text, name = augment(row.prompt, chooser, disguise.transformations)
            result.append(Labelled(text, None, label, source + DISGUISED, name))
    return result


def _answers(seed: int, source: str, asked: Mapping[str, str]) -> list[Row]:
    """`asked`: prompts, and where each is from."""
    rows: list[Row] = []
    for pair in answer_wins(seed, list(asked)):
        name = f"{source}#{asked[pair.prompt]}"
        rows.append(Pair(pair.prompt, pair.chosen, pair.rejected, name, half="safe"))
        rows.append(Labelled(pair.prompt, pair.chosen, 0, name))
    return rows


def _refusals(seed: int, source: str, asked: Mapping[str, str]) -> list[Row]:
    rows: list[Row] = []
    for pair in refusal_wins(seed, list(asked)):
        name = f"{source}#{asked[pair.prompt]}"
        rows.append(Pair(pair.prompt, pair.chosen, pair.rejected, name, half="unsafe"))
        # the refusal gets no label of its own: "refusing is safe" is the shortcut to avoid
        rows.append(Labelled(pair.prompt, pair.rejected, 1, name))
    return rows


def _answered(rows: Sequence[Row], made: Made, seed: int) -> list[Row]:
    """A language model's answer to a harmless prompt is better than a refusal of it."""
    chooser = _chooser(f"{seed}:answered")
    return [
        Pair(row.prompt, row.response, refusal_text(chooser), f"{row.source}_pairs", half="safe")
        for row in rows
        if isinstance(row, Labelled) and row.response is not None and row.source in made.answer_sources
    ]


def _over_refusals(rows: Sequence[Row], seed: int) -> list[Row]:
    """Both human-compared answers to a helpful question are safe, and better than a refusal."""
    chooser = _chooser(f"{seed}:over_refusals")
    result: list[Row] = []
    for row in rows:
        if isinstance(row, Pair) and row.source == "pref_pandalm_helpful":
            result.append(Pair(row.prompt, row.chosen, refusal_text(chooser), "over_refusals", half="safe"))
            result.append(Labelled(row.prompt, row.chosen, 0, "helpful_answers"))
            result.append(Labelled(row.prompt, row.rejected, 0, "helpful_answers"))
    return result


def _by_question(rows: Sequence[Row], seed: int) -> list[Row]:
    """A safe reply to a harmful question is chosen over an unsafe reply to the same question."""
    chooser = _chooser(f"{seed}:by_question")
    safe: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if isinstance(row, Labelled) and row.response is not None and row.label == 0 and row.clear:
            safe.setdefault((row.source, row.prompt), []).append(row.response)
    half = {"resp_gptfuzz_train": "unsafe"}  # its questions ask for harm, and its safe replies are refusals
    return [
        Pair(
            row.prompt,
            chooser.choice(safe[row.source, row.prompt]),
            row.response,
            _paired(row.source),
            half=half.get(row.source, ""),
        )
        for row in rows
        if isinstance(row, Labelled)
        and row.response is not None
        and row.label == 1
        and row.clear
        and (row.source, row.prompt) in safe
    ]


def _paired(source: str) -> str:
    """The name of pairs made of a source's rows; its part stays at the end."""
    name, mark, part = source.partition("#")
    return f"{name}_pairs{mark}{part}"


def _distinct(rows: Iterable[Row]) -> list[Row]:
    seen: set[tuple[object, ...]] = set()
    result = []
    for row in rows:
        key = _key(row)
        if key not in seen:
            seen.add(key)
            result.append(row)
    return result


def _key(row: Row) -> tuple[object, ...]:
    if isinstance(row, Pair):
        return ("pair", row.prompt, row.chosen, row.rejected)
    return ("text", row.prompt.strip().lower(), row.response)


def _rows_digest(rows: Sequence[Row]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(_key(row)).encode())
    return digest.hexdigest()


def _chooser(seed: str) -> random.Random:
    return random.Random(seed)  # noqa: S311 - sampling, not secrecy
