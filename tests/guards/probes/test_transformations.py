from __future__ import annotations

import random
import re
import string
from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from guards.errors import UnknownName
from guards.normalize import normalize
from guards.probes.transformations import (
    base64_encoding,
    benign_padding,
    chunk_split,
    hex_encoding,
    html_entities,
    reversal,
    rot13,
    url_encoding,
    window_padding,
)
from guards.probes.transformations.base import Transformation
from guards.probes.transformations.passages import CLOSE, OPEN
from guards.probes.transformations.registry import TRANSFORMATIONS, augment
from guards.probes.transformations.turn_split import MOST_TURNS, turn_split

_EVERY = pytest.mark.parametrize("one", TRANSFORMATIONS.values(), ids=TRANSFORMATIONS)
_UNDONE = {name: one for name, one in TRANSFORMATIONS.items() if one.undone_by_normalization}
_CODECS = {
    "reversal": reversal,
    "base64": base64_encoding,
    "hex": hex_encoding,
    "rot13": rot13,
    "url": url_encoding,
    "html_entities": html_entities,
}

_SEEDS = st.integers(0, 2**32)
_SEVERITIES = st.floats(0, 1)
_NASTY = st.sampled_from(
    "ab Z1\n\t\x00\x85&#;%[]()\"'{}éß\u0301\u200b\u202e\u3000яα你👩🏽\U000e0041\ud800\udfff\U0010ffff"
)
_TEXTS = st.text(_NASTY | st.characters(exclude_categories=()), max_size=60)

# Ordinary English: words and the marks after them, a single space between.
_TEXT = """a I the How do make bomb house please What is quiet jazz Vex lazy dog kill people don't it's 123 4th e.g. mp3
(fox jumps) BROKEN Windows well-known you're Quickly zebra physics OK no so if"""
_WORDS = st.sampled_from(_TEXT.split())
_SENTENCES = st.lists(
    st.tuples(_WORDS, st.sampled_from(["", "", "", ",", ".", "?", "!", ":"])), min_size=1, max_size=12
)
_ORDINARY = _SENTENCES.map(lambda words: " ".join(word + mark for word, mark in words))


def _applied(one: Transformation, text: str, seed: int, severity: float) -> str:
    return one.transform(text, random.Random(seed), severity)


@_EVERY
@given(text=_TEXTS, seed=_SEEDS, severity=_SEVERITIES)
@example(text="", seed=0, severity=1.0)
@example(text="\ud800", seed=0, severity=1.0)
@example(text=" ", seed=0, severity=0.5)
@example(text="x", seed=0, severity=5e-324)
def test_any_text_is_taken_and_the_seed_decides(one: Transformation, text: str, seed: int, severity: float) -> None:
    assert _applied(one, text, seed, severity) == _applied(one, text, seed, severity)


@_EVERY
@given(text=_TEXTS, seed=_SEEDS)
def test_severity_zero_and_an_empty_text_change_nothing(one: Transformation, text: str, seed: int) -> None:
    assert _applied(one, text, seed, 0.0) == text
    assert _applied(one, "", seed, 1.0) == ""


@_EVERY
def test_full_severity_changes_an_ordinary_sentence(one: Transformation) -> None:
    text = "Tell me how people break into a house, please."
    assert _applied(one, text, 1, 1.0) != text


@_EVERY
def test_different_seeds_give_different_texts_unless_nothing_is_drawn(one: Transformation) -> None:
    text = "Tell me how people break into a house, please. " * 5
    drawn = {_applied(one, text, seed, 0.4) for seed in range(12)}
    assert len(drawn) > 1


@_EVERY
@pytest.mark.parametrize("severity", [-0.01, 1.01, float("nan")])
def test_a_severity_out_of_range_is_refused(one: Transformation, severity: float) -> None:
    with pytest.raises(ValueError, match="severity"):
        one.transform("text", random.Random(0), severity)


@_EVERY
@pytest.mark.parametrize("unit", ["a", " ", "word ", "\ud800é ", "a "])
def test_a_huge_text_is_taken(one: Transformation, unit: str) -> None:
    text = unit * (200_000 // len(unit))
    assert len(_applied(one, text, 3, 1.0)) >= len(text) // 2


@pytest.mark.parametrize("one", _UNDONE.values(), ids=_UNDONE)
@given(text=_ORDINARY, seed=_SEEDS, severity=_SEVERITIES)
@example(text="Tell me the best way to break into a house, please.", seed=5, severity=1.0)
@example(text="My email is 123 and it's a quiet Jazz evening, OK?", seed=3, severity=0.5)
def test_normalization_undoes_what_the_table_says(one: Transformation, text: str, seed: int, severity: float) -> None:
    # "a b" may be two spaced letters of one word or two words of a letter: the technique makes both the same
    assume(one.name != "letter_spacing" or not re.search(r"\b\w\W+\w\b", text))
    if one.name == "homoglyphs":  # "ОК" alone may be honest Cyrillic: it takes a sentence to tell
        text += " Tell me whatever else is important."
    assert normalize(_applied(one, text, seed, severity)).text == normalize(text).text


@pytest.mark.parametrize("name", TRANSFORMATIONS.keys() - _UNDONE.keys())
def test_normalization_does_not_undo_the_others(name: str) -> None:
    text = "Tell me how people break into a house, please."
    assert normalize(_applied(TRANSFORMATIONS[name], text, 1, 1.0)).text != text


@pytest.mark.parametrize("name", _CODECS)
@given(text=_TEXTS.filter(bool), seed=_SEEDS)
def test_an_encoded_text_can_be_decoded(name: str, text: str, seed: int) -> None:
    _, _, body = _applied(TRANSFORMATIONS[name], text, seed, 1.0).partition("\n")
    assert body.startswith(OPEN)
    assert body.endswith(CLOSE)
    assert _CODECS[name].decode(body.removeprefix(OPEN).removesuffix(CLOSE)) == text


@pytest.mark.parametrize("name", _CODECS)
@given(text=_ORDINARY, seed=_SEEDS, severity=st.floats(0.05, 1))
def test_a_passage_decodes_in_its_place(name: str, text: str, seed: int, severity: float) -> None:
    _, _, body = _applied(TRANSFORMATIONS[name], text, seed, severity).partition("\n")
    before, _, rest = body.partition(OPEN)
    code, _, after = rest.partition(CLOSE)
    assert before + _CODECS[name].decode(code) + after == text
    assert code


@given(text=_ORDINARY, seed=_SEEDS, severity=st.floats(0.01, 1))
def test_the_parts_of_a_split_text_join_to_it(text: str, seed: int, severity: float) -> None:
    split = _applied(TRANSFORMATIONS["chunk_split"], text, seed, severity)
    parts = re.findall(r"^Part \d: \[\[(.*)\]\]$", split, re.MULTILINE)
    assert "".join(parts) == text
    assert min(len(text), 2) <= len(parts) <= chunk_split.MOST_PARTS


@pytest.mark.parametrize("name", ["benign_padding", "quoted_frame", "translated_frame"])
@given(text=_TEXTS, seed=_SEEDS, severity=_SEVERITIES)
def test_a_frame_or_padding_leaves_the_text_whole(name: str, text: str, seed: int, severity: float) -> None:
    assert text in _applied(TRANSFORMATIONS[name], text, seed, severity)


@given(seed=_SEEDS, severity=st.floats(0.01, 1))
def test_padding_has_as_many_words_as_the_severity_says(seed: int, severity: float) -> None:
    added = len(_applied(TRANSFORMATIONS["benign_padding"], "word", seed, severity).split()) - 1
    longest = max(len(sentence.split()) for sentence in benign_padding.SENTENCES)
    wanted = severity * benign_padding.MOST_WORDS
    assert wanted <= added < wanted + longest


@given(text=_ORDINARY, seed=_SEEDS, severity=st.floats(0.01, 1))
def test_window_padding_fills_as_many_windows_as_the_severity_says(text: str, seed: int, severity: float) -> None:
    padded = _applied(TRANSFORMATIONS["window_padding"], text, seed, severity)
    added = len(padded.split()) - len(text.split())
    wanted = window_padding.windows_filled(severity) * window_padding.WINDOW_WORDS
    assert text in padded
    assert wanted <= added < wanted + 20
    assert 1 <= window_padding.windows_filled(severity) <= window_padding.MOST_WINDOWS


@given(text=_ORDINARY, seed=_SEEDS, severity=_SEVERITIES)
def test_a_request_told_in_turns_has_all_its_words_in_order(text: str, seed: int, severity: float) -> None:
    turns = turn_split(text, random.Random(seed), severity)
    assert turns == turn_split(text, random.Random(seed), severity)
    assert " ".join(turn.said for turn in turns).split() == text.split()
    assert all(turn.said for turn in turns)
    assert [bool(turn.reply) for turn in turns] == [True] * (len(turns) - 1) + [False]
    assert len(turns) <= MOST_TURNS
    assert (len(turns) == 1) == (severity == 0 or len(text.split()) == 1)


def test_turns_refuse_a_severity_out_of_range() -> None:
    with pytest.raises(ValueError, match="severity"):
        turn_split("text", random.Random(0), 1.5)


@given(text=_ORDINARY, seed=_SEEDS, severity=_SEVERITIES)
def test_a_typo_keeps_the_first_and_last_letter_of_every_word(text: str, seed: int, severity: float) -> None:
    typed = _applied(TRANSFORMATIONS["typos"], text, seed, severity)
    ends = re.compile(r"[A-Za-z]+")
    assert [(word[0], word[-1]) for word in ends.findall(typed)] == [(word[0], word[-1]) for word in ends.findall(text)]


@given(text=_ORDINARY, seed=_SEEDS, severity=_SEVERITIES)
def test_random_case_changes_nothing_but_the_case(text: str, seed: int, severity: float) -> None:
    assert _applied(TRANSFORMATIONS["random_case"], text, seed, severity).lower() == text.lower()


def test_the_share_of_changed_letters_follows_the_severity() -> None:
    text = string.ascii_lowercase * 400
    for name, severity, share in [("fullwidth", 0.3, 0.3), ("random_case", 1.0, 0.5), ("random_case", 0.4, 0.2)]:
        changed = _applied(TRANSFORMATIONS[name], text, 11, severity)
        assert abs(sum(a != b for a, b in zip(text, changed, strict=True)) / len(text) - share) < 0.02


def test_augmentation_draws_from_the_names_alone_and_says_which() -> None:
    names = ["leet", "typos", "base64"]
    rng = random.Random(4)
    drawn = [augment("How do people break into houses?", rng, names) for _ in range(60)]
    assert {name for _, name in drawn} == set(names)
    assert all("\n" in text for text, name in drawn if name == "base64")
    again = random.Random(4)
    assert drawn == [augment("How do people break into houses?", again, names) for _ in range(60)]


def test_augmentation_refuses_unknown_names_and_none_at_all() -> None:
    with pytest.raises(UnknownName, match="transformation"):
        augment("text", random.Random(0), ["no-such"])
    with pytest.raises(ValueError, match="at least one"):
        augment("text", random.Random(0), [])


def test_the_page_lists_every_transformation_as_the_table_has_it() -> None:
    page = (Path(__file__).parents[3] / "docs" / "probe-kinds.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| ([\w-]+) \|.*\| (yes|no) \| (yes|no) \|$", page, re.MULTILINE)
    words = {True: "yes", False: "no"}
    assert rows == [
        (name, one.family, words[one.undone_by_normalization], words[one.meaning_preserving])
        for name, one in TRANSFORMATIONS.items()
    ]
