"""Is a reply a refusal? By its first words, for sorting pairs and turns; never a decision about traffic by itself.

A refusal says near the start that the speaker will not do what was asked. Refusal-phrase matching as in the
evaluations of Zou 2023 (arXiv:2307.15043). Departures: the words are our own, a refusing verb is needed ("I can't wait"
is none), and only the first 300 characters are read, so a reply that refuses first and obliges later counts as a
refusal. English only.
"""

from __future__ import annotations

import re
from typing import Literal

_READ = 300  # characters: later on, "I cannot" is mostly part of an answer

_APOSTROPHES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u02bc": "'", "`": "'"})
# what a refusal will not do; "wait", "recommend enough" or "find" are part of answers
_DEEDS = (
    "help|helping|assist|aid|provide|providing|give (?:you|out|any)|share|offer|do (?:that|this|it|so)|doing|fulfil|"
    "fulfill|comply|answer|answering|respond to|engage|participate|take part|support|condone|encourage|promote|"
    "facilitate|generate|create|write|produce|tell you (?:how|that)|teach|show you how|explain how|discuss|discussing|"
    "talk about|be (?:a )?part of|go along|continue|play|act as|advise|guide|say (?:that|this|such)|"
    "be able to (?:help|assist|do)"
)
_ADVERBS = r"(?:\w+ly |in good conscience |also |just |ever )*"
_NOT_ABLE = (
    r"(?:can't|cannot|can not|couldn't|won't|will not|wouldn't|would not|must not|do not want to|don't want to|"
    r"(?:'m|am) (?:not (?:able|allowed|permitted|programmed|designed|going|willing|here|comfortable)|unable)"
    r"(?: to| with)?|'d rather not|would rather not|(?:don't|do not) feel comfortable|"
    r"(?:don't|do not) think (?:i|we) (?:can|should))"
)
_REFUSALS = re.compile(
    "|".join(
        (
            rf"\b(?:i|we)(?:,? [\w' ]{{0,30}},)? ?{_NOT_ABLE} {_ADVERBS}(?:{_DEEDS})\b",
            r"\bi (?:must|have to|will have to|need to) (?:\w+ly )?(?:decline|refuse)\b",
            r"\bi (?:\w+ly )?(?:decline|refuse) (?:to|your)\b",
            r"(?: is|'s) not something (?:that )?i(?:'m| am| can| will| do)\b",
            r"(?: is|'s) something (?:that )?i(?: can't| cannot| won't| am unable|'m unable| am not|'m not)\b",
            r"\bsorry,? (?:but )?(?:no\b|i can't[.!]|i cannot[.!]|that's not possible)",
            r"\b(?:against|violates?|outside) my (?:guidelines|programming|principles|purpose|polic(?:y|ies)|values)\b",
            r"^\W*(?:request )?(?:rejected|denied)\b",
        )
    )
)


def is_refusal(reply: str) -> bool:
    """Whether the reply declines in its first words."""
    start = " ".join(reply[:_READ].translate(_APOSTROPHES).lower().split())
    return _REFUSALS.search(start) is not None


def refusal_half(chosen: str, rejected: str) -> Literal["", "safe", "unsafe"]:
    """Which half of refusal pairs this is: "unsafe" where a refusal should win, "safe" where an answer should
    beat one, and empty where both or neither refuse."""
    refuses = is_refusal(chosen), is_refusal(rejected)
    if refuses == (True, False):
        return "unsafe"
    return "safe" if refuses == (False, True) else ""
