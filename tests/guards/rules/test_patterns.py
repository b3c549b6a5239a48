from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from subjects import subject

from guards.errors import ConfigError
from guards.rules.patterns import MAX_MATCHES, PatternConfig, PatternGuard
from guards.types import Action, Finding, Span
from tests.growth import grows_linearly


def _guard(*, keywords: tuple[str, ...] = (), patterns: tuple[str, ...] = (), **settings: object) -> PatternGuard:
    fields = {"name": "rule", "category": "banned", "keywords": keywords, "patterns": patterns, **settings}
    return PatternGuard(PatternConfig.model_validate(fields))


def _found(guard: PatternGuard, text: str) -> list[str]:
    return [text[start:end] for start, end in guard.find(text)]


def test_keywords_are_whole_words_in_any_case() -> None:
    guard = _guard(keywords=("bad", "straße", "нет", "c++", "रोटी"))
    assert _found(guard, "Bad BAD badminton unbad bad_ideas") == ["Bad", "BAD", "bad"]
    assert _found(guard, "STRASSE и НЕТ, нету c++ c+ रोटी रोटीवाला") == ["STRASSE", "НЕТ", "c++", "रोटी"]


def test_a_phrase_spans_any_white_space_but_no_other_word() -> None:
    guard = _guard(keywords=("credit card",))
    assert _found(guard, "Credit  \n card, credit my card, creditcard") == ["Credit  \n card"]


def test_keywords_of_scripts_without_spaces_match_inside_a_sentence() -> None:
    assert _found(_guard(keywords=("炸弹", "ระเบิด")), "如何制作炸弹吗 ทำระเบิดยังไง") == ["炸弹", "ระเบิด"]


def test_patterns_count_code_points_and_overlaps_become_one() -> None:
    guard = _guard(patterns=("b+", r"(?P<x>bc|é)", r"(?P<x>zz)"))
    assert guard.find("é😀bbc b zz") == ((0, 1), (2, 5), (6, 7), (8, 10))


async def test_a_disguised_word_is_found_where_it_was_sent() -> None:
    guard = _guard(keywords=("bomb",), action="redact", replacement="[X]")
    text = "a b\u200bоmb 😀 here"
    (finding,) = await guard.evaluate(subject(text))
    assert finding == Finding("rule", "banned", Action.REDACT, spans=(Span(0, 0, 2, 7),), replacement="[X]")
    assert text[2:7] == "b\u200bоmb"


async def test_a_text_without_a_match_has_no_finding() -> None:
    judged = subject("all is well")
    guard = _guard(keywords=("bomb",), patterns=(r"\d+",))
    assert await guard.evaluate(judged) == ()
    assert judged.asked_scores == 0


@pytest.mark.parametrize("action", [Action.FLAG, Action.REPLACE, Action.BLOCK])
async def test_only_redaction_carries_a_replacement(action: Action) -> None:
    guard = _guard(patterns=("x",), action=action.name.lower())
    (finding,) = await guard.evaluate(subject("x"))
    assert (finding.action, finding.replacement) == (action, "")


async def test_long_texts_are_judged_as_short_ones() -> None:
    (finding,) = await _guard(keywords=("bomb",)).evaluate(subject("word " * 2_000 + "bomb"))
    assert finding.spans == (Span(0, 0, 10_000, 10_004),)


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(a", "missing"),
        ("(?=a)b", "perl operator"),
        (r"(a)\1", "escape"),
        ("a{5000}", "repetition"),
        ("a*", "empty text"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_named_with_the_reason(pattern: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=rf"'rule': patterns\[1\] .*{reason}"):
        _guard(patterns=("fine", pattern))


@pytest.mark.parametrize(
    "settings", [{}, {"keywords": ("",)}, {"patterns": ("a",), "action": "allow"}, {"patterns": ("a",), "typo": 1}]
)
def test_a_wrong_setting_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PatternConfig.model_validate({"name": "rule", "category": "banned", **settings})


def test_more_matches_than_are_listed_cover_the_rest_of_the_text() -> None:
    text = "a." * (MAX_MATCHES + 500)
    spans = _guard(patterns=("a",)).find(text)
    assert len(spans) == MAX_MATCHES + 1
    assert spans[-1] == (2 * MAX_MATCHES, len(text))


def test_hundreds_of_patterns_still_match_each() -> None:
    guard = _guard(patterns=tuple(rf"(?i)\bw{stem:03d}[a-zé]{{0,9}}x\b" for stem in range(300)))
    assert _found(guard, "so W007éénx and w299x") == ["W007éénx", "w299x"]


@given(st.text(st.sampled_from("ab c.\né"), max_size=40))
def test_patterns_find_what_python_finds(text: str) -> None:
    guard = _guard(patterns=("ab+", "c|é"))
    starts = {start for start, _ in guard.find(text)}
    covered = {at for start, end in guard.find(text) for at in range(start, end)}
    expected = {at for found in re.finditer("ab+|c|é", text) for at in range(*found.span())}
    assert covered == expected
    assert starts <= expected


@given(st.text(st.sampled_from("ab c.\né"), max_size=40))
def test_keywords_find_what_python_finds(text: str) -> None:
    guard = _guard(keywords=("ab", "c"))
    expected = [found.span() for found in re.finditer(r"\b(?:ab|c)\b", text)]
    assert list(guard.find(text)) == expected


def test_patterns_that_backtrack_elsewhere_take_linear_time_here() -> None:
    guard = _guard(patterns=(r"(a+)+$", r"(a|a)*b"))

    assert grows_linearly("a", lambda text: guard.find(text + "!"), str)
