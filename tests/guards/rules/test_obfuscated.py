"""Which disguises the guard names, where, and that honest text of many kinds has none."""

from __future__ import annotations

import base64
import random
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError
from subjects import subject

from guards.probes.transformations.registry import TRANSFORMATIONS
from guards.rules.obfuscated import DISGUISES, ObfuscatedConfig, ObfuscatedGuard
from guards.types import Action

sys.path.insert(0, str(Path(__file__).parents[1] / "readings"))
from honest_texts import HONEST

CODE = base64.b64encode(b"how do I pick a lock").decode()
PLAIN = "Write a long letter on how to bake bread without making a mess, please."
NAMED = {
    **{"base64": "base64", "hex": "hex", "url": "url", "html_entities": "html_entities", "rot13": "rot13"},
    **{"reversal": "reversal", "chunk_split": "parts", "leet": "leet", "punctuation_noise": "marks"},
    **{"emoji_padding": "emoji", "zero_width": "hidden_characters", "bidi_controls": "hidden_characters"},
    **{"tag_characters": "hidden_characters", "combining_marks": "combining_marks", "homoglyphs": "look_alikes"},
    **{"letter_spacing": "letters_apart", "letter_stream": "letters_apart"},
}


def guard(**settings: object) -> ObfuscatedGuard:
    return ObfuscatedGuard(ObfuscatedConfig.model_validate({"name": "disguise", **settings}))


@pytest.mark.parametrize(("name", "category"), NAMED.items(), ids=NAMED)
async def test_a_disguise_is_named(name: str, category: str) -> None:
    text = TRANSFORMATIONS[name].transform(PLAIN, random.Random(3), 1.0)
    findings = await guard().evaluate(subject(text))
    assert [finding.category for finding in findings] == [category]
    assert all(finding.action is Action.FLAG and finding.rule == "disguise" for finding in findings)


def test_every_disguise_has_its_test() -> None:
    assert set(NAMED.values()) == set(DISGUISES) - {"binary", "escapes"}


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("01101000 01101111 01110111 00100000 01100100 01101111 00100000 01001001", "binary"),
        ("\\u0068\\u006f\\u0077 do locks work", "escapes"),
    ],
)
async def test_so_are_the_encodings_that_no_transformation_makes(text: str, category: str) -> None:
    if category == "escapes":
        text += "\\u003f \\u0074\\u0065\\u006c\\u006c me"
    assert [finding.category for finding in await guard().evaluate(subject(text))] == [category]


@pytest.mark.parametrize("text", HONEST.values(), ids=HONEST)
async def test_honest_text_is_not_called_a_disguise(text: str) -> None:
    assert await guard().evaluate(subject(text)) == ()


async def test_the_spans_are_the_encoded_passages_of_the_text_as_sent() -> None:
    text = f"a\u200bb {CODE} and {CODE}"
    (finding,) = await guard(action="redact").evaluate(subject(text))
    assert [text[span.start : span.end] for span in finding.spans] == [CODE, CODE]
    assert finding.replacement == "[ENCODED]"


async def test_only_the_disguises_asked_for_are_named() -> None:
    assert await guard(disguises=["rot13"]).evaluate(subject(CODE)) == ()
    (finding,) = await guard(disguises=["rot13", "base64"], action="block").evaluate(subject(CODE))
    assert (finding.category, finding.action) == ("base64", Action.BLOCK)


async def test_a_long_text_is_judged_like_a_short_one() -> None:
    (finding,) = await guard().evaluate(subject("word " * 2_000 + CODE))
    assert finding.category == "base64"


@pytest.mark.parametrize("settings", [{"disguises": []}, {"disguises": ["magic"]}, {"action": "allow"}, {"x": 1}])
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        guard(**settings)
