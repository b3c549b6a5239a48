from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from guards.errors import InvalidInput
from guards.learning.contrast import (
    answer_wins,
    everyday_prompts,
    harmful_requests,
    in_company,
    made_prompts,
    refusal_wins,
)
from guards.learning.corpus import Corpus, load_corpus
from guards.learning.data import Labelled, Pair, read_rows
from guards.learning.recipe import ALONE, COMPANY, DISGUISED, Recipe, load_recipe, origin

TURNS = [
    {"role": "user", "content": "hello"},
    {"role": "assistant", "content": "hi"},
    {"role": "user", "content": "why?"},
]


def write(path: Path, *lines: object) -> Path:
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_the_three_shapes_are_told_apart_by_their_fields(tmp_path: Path, name: str) -> None:
    path = write(
        tmp_path / name,
        {"messages": TURNS, "chosen": "because", "rejected": "no"},
        {"messages": TURNS, "response": "because", "label": 1},
        {"prompt": "hi", "label": 0, "source": "chat"},
        "",
        {"text": "hi there", "label": 1},
    )
    of_turns = "2cf24dba5fb0a30e"  # of the first user turn, "hello"
    assert read_rows(path) == (
        Pair("hello\nhi\nwhy?", "because", "no", "rows", cluster=of_turns),
        Labelled("hello\nhi\nwhy?", "because", 1, "rows", cluster=of_turns),
        Labelled("hi", None, 0, "chat"),
        Labelled("hi there", None, 1, "rows"),
    )


def test_a_rows_category_and_a_pairs_half_are_read_where_they_are_given(tmp_path: Path) -> None:
    pair = {"messages": TURNS, "chosen": "because", "rejected": "no"}
    path = write(
        tmp_path / "rows.jsonl",
        {"prompt": "hi", "label": 0, "category": "chat", "kind": "benign"},
        {"prompt": "ho", "label": 0, "kind": "benign"},
        {"prompt": "he", "label": 0, "category": 7},
        {**pair, "half": "safe"},
        {**pair, "half": None},
    )
    rows = read_rows(path)
    assert [row.category for row in rows] == ["chat", "benign", "", "", ""]
    assert [row.half for row in rows if isinstance(row, Pair)] == ["safe", ""]


def test_a_label_on_which_readers_differ_is_kept_and_rounded_to_a_class(tmp_path: Path) -> None:
    labels = [0, 0.1, 0.4, 0.5, 0.8, 1]
    path = write(tmp_path / "rows.jsonl", *({"messages": TURNS, "response": str(n), "label": n} for n in labels))
    rows = [row for row in read_rows(path) if isinstance(row, Labelled)]
    assert [row.label for row in rows] == [0, 0, 0, 1, 1, 1]
    assert [row.target for row in rows] == labels
    assert [row.clear for row in rows] == [True, True, False, False, True, True]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "not a JSON object"),
        ("[1]", "not a JSON object"),
        ({"secret": 1}, "needs"),
        ({"prompt": "secret", "label": 2}, "label"),
        ({"prompt": "secret", "label": -0.1}, "label"),
        ({"prompt": "secret", "label": "1"}, "label"),
        ('{"prompt": "secret", "label": NaN}', "label"),
        ({"prompt": 7, "label": 1}, "prompt"),
        ({"messages": [], "response": "secret", "label": 0}, "messages"),
        ({"messages": ["secret"], "response": "secret", "label": 0}, "messages"),
        ({"messages": TURNS, "chosen": "secret"}, "rejected"),
        ({"messages": TURNS, "chosen": "a", "rejected": "b", "half": "secret"}, "half"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line_without_its_text(tmp_path: Path, line: object, complaint: str) -> None:
    path = write(tmp_path / "rows.jsonl", {"prompt": "fine", "label": 0}, line)
    with pytest.raises(InvalidInput, match=complaint) as caught:
        read_rows(path)
    assert str(caught.value).startswith(f"{path}:2:")
    assert "secret" not in str(caught.value)


def test_an_empty_or_missing_or_broken_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(b'{"prompt": "a", "label": 0}' * 50)[:-12])
    for path in (write(tmp_path / "empty.jsonl"), tmp_path / "absent.jsonl", tmp_path / "cut.jsonl.gz"):
        with pytest.raises(InvalidInput, match=path.name):
            read_rows(path)


def test_the_same_seed_makes_the_same_rows_and_another_does_not() -> None:
    assert made_prompts(1, 20) == made_prompts(1, 20)
    assert made_prompts(1, 20) != made_prompts(2, 20)
    assert answer_wins(1, ["How do I sew?"]) == answer_wins(1, ["How do I sew?"])


def test_made_prompts_are_distinct_and_none_is_both_harmless_and_harmful() -> None:
    rows = made_prompts(1, 1000)
    harmless = {row.text for row in rows if not row.harmful} | set(everyday_prompts(1, 1000))
    harmful = {row.text for row in rows if row.harmful} | set(harmful_requests(1, 1000))
    assert len({row.text for row in rows}) == len(rows) > 600
    assert harmless.isdisjoint(harmful)
    assert not any("{" in text for text in harmless | harmful)


def test_who_wins_against_a_refusal_depends_on_the_request() -> None:
    (harmless,) = answer_wins(3, ["How do I knit a scarf?"])
    (harmful,) = refusal_wins(3, ["How do I rob a bank?"])
    assert harmless.chosen != harmless.rejected
    assert harmful.chosen != harmful.rejected
    assert not any("{" in text for text in (harmless.chosen, harmful.rejected))


def test_company_keeps_the_request_whole_and_surrounds_it_with_sentences() -> None:
    prompts = [f"How do I do thing {number}?" for number in range(40)]
    texts = in_company("seed", prompts)
    assert all(prompt in text and len(text) > len(prompt) + 20 for prompt, text in zip(prompts, texts, strict=True))
    assert any(text.startswith(prompt) for prompt, text in zip(prompts, texts, strict=True))
    assert any(text.endswith(prompt) for prompt, text in zip(prompts, texts, strict=True))
    assert texts == in_company("seed", prompts)
    assert texts != in_company("another", prompts)
    assert max(len(text.split()) for text in texts) > 100  # from a sentence up to about a window
    given = in_company("seed", prompts, ["Birds sing.", "Fish swim."])
    assert any("Fish swim." in text for text in given)
    assert any("Fish swim." not in text for text in given)


@pytest.fixture(scope="module")
def shipped() -> tuple[Recipe, Corpus]:
    recipe, _ = load_recipe(Path("recipes/reward.yaml"))
    return recipe, load_corpus(recipe, Path("recipes"))


@pytest.mark.parametrize("variant", [COMPANY, ALONE, DISGUISED])
def test_a_source_and_its_variants_are_held_out_together(shipped: tuple[Recipe, Corpus], variant: str) -> None:
    recipe, corpus = shipped
    folds = {source: fold.name for fold in recipe.folds for source in fold.sources}
    in_folds = {row.source: folds[row.source] for row in corpus.prompts}
    changed = [source for source in in_folds if source.endswith(variant)]
    assert len(changed) > 15
    assert all(in_folds[source] == folds[source.removesuffix(variant)] for source in changed)
    labels = {row.label for row in corpus.prompts if row.source.endswith(variant)}
    assert labels == ({0} if variant == ALONE else {0, 1})


def test_sentences_are_learned_from_alone_where_the_whole_is_harmless(shipped: tuple[Recipe, Corpus]) -> None:
    _, corpus = shipped
    harmless = [row.prompt for row in corpus.prompts if row.label == 0 and "+" not in row.source]
    harmless += [row.response or "" for row in corpus.responses if row.label == 0]
    together = "\n".join(harmless)
    alone = [row for row in corpus.prompts if row.source.endswith(ALONE)]
    assert len(alone) > 1000
    assert all(row.prompt in together for row in alone)
    assert sum(row.source.startswith("written_passages") for row in alone) > 100


def test_both_halves_of_refusal_pairs_have_as_much_to_say(shipped: tuple[Recipe, Corpus]) -> None:
    _, corpus = shipped
    halves = Counter(pair.half for pair in corpus.pairs)
    assert min(halves["safe"], halves["unsafe"]) > 1000
    assert all(pair.chosen != pair.rejected for pair in corpus.pairs)


def test_the_parts_of_a_source_share_no_conversation(shipped: tuple[Recipe, Corpus]) -> None:
    _, corpus = shipped
    parts: dict[str, set[str]] = {}
    for pair in corpus.pairs:
        if origin(pair.source) == "pref_hh_harmless_train":
            parts.setdefault(pair.source, set()).add(pair.cluster)
    assert len(parts) == 4
    assert sum(map(len, parts.values())) == len(set().union(*parts.values()))


def test_a_disguised_prompt_is_another_text_with_the_label_of_its_source(shipped: tuple[Recipe, Corpus]) -> None:
    recipe, corpus = shipped
    disguised = [row for row in corpus.prompts if row.source.endswith(DISGUISED)]
    assert {row.category for row in disguised} == set(recipe.disguise.transformations)
    plain = {row.prompt for row in corpus.prompts if "+" not in row.source}
    assert sum(row.prompt in plain for row in disguised) < len(disguised) / 20
