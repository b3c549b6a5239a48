from __future__ import annotations

import pytest

from guards.scripts import Script, dominant_script


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("How are you?", Script.LATIN),
        ("Où êtes-vous, señor?", Script.LATIN),
        ("Как дела?", Script.CYRILLIC),
        ("Τι κάνεις;", Script.GREEK),
        ("كيف حالك؟", Script.ARABIC),
        ("מה שלומך?", Script.HEBREW),
        ("आप कैसे हैं?", Script.DEVANAGARI),
        ("你好吗？", Script.HAN),
        ("お元気ですか。東京都", Script.KANA),
        ("잘 지내세요?", Script.HANGUL),
        ("สบายดีไหม", Script.THAI),
        ("ᏣᎳᎩ", Script.OTHER),
        ("12 + 30 = 42", Script.NONE),
        ("🙂🙂", Script.NONE),
        ("", Script.NONE),
        ("Ask Иван", Script.CYRILLIC),
    ],
)
def test_the_script_of_most_letters_counts(text: str, script: Script) -> None:
    assert dominant_script(text) is script


def test_a_long_text_is_looked_at_throughout() -> None:
    assert dominant_script("a" * 1000 + "я" * 3000) is Script.CYRILLIC
    assert dominant_script("я" * 1000 + "a" * 3000) is Script.LATIN
