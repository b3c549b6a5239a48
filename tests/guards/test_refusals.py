from __future__ import annotations

import random

import pytest

from guards.learning.contrast import answer_wins, everyday_prompts, harmful_requests, refusal_text, refusal_wins
from guards.refusals import is_refusal, refusal_half


@pytest.mark.parametrize(
    "reply",
    [
        "I'm sorry, but I can't help with that.",
        "I’m sorry, but I can’t assist with that request.",
        "I cannot provide instructions for that.",
        "As an AI language model, I cannot in good conscience engage in this.",
        "[GPT] I'm sorry, but I cannot fulfill this request as it goes against my programming.",
        "I won't do that.",
        "I would rather not discuss this.",
        "I must respectfully decline.",
        "That's not something I can do for you.",
        "I'm afraid this is something I cannot do.",
        "Unfortunately, I am unable to do this.",
        "REJECTED. No.",
    ],
)
def test_a_reply_that_declines_is_a_refusal(reply: str) -> None:
    assert is_refusal(reply)


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "Sure! First boil the water.",
        "I can't wait to help you with your cake!",
        "I'm sorry to hear about your loss. Here is how to arrange a funeral.",
        "I cannot recommend this book enough.",
        "If the process can't provide a lock, restart it.",
        "I can help with that.",
        "That is something I can do.",
        "You should decline the offer politely.",
        "I don't know which file you mean.",
        "Boil the egg. " * 40 + "I can't help with that.",
    ],
)
def test_a_reply_that_does_not_decline_is_none(reply: str) -> None:
    assert not is_refusal(reply)


def test_the_made_refusals_are_seen_and_the_made_answers_are_not_taken_for_them() -> None:
    chooser = random.Random(1)
    assert all(is_refusal(refusal_text(chooser)) for _ in range(500))
    answers = [pair.chosen for pair in answer_wins(1, everyday_prompts(1, 200))]
    answers += [pair.rejected for pair in refusal_wins(1, harmful_requests(1, 200))]
    assert not any(map(is_refusal, answers))


def test_the_half_follows_from_which_answer_refuses() -> None:
    refusal, answer = "I can't help with that.", "Boil it for ten minutes."
    assert refusal_half(refusal, answer) == "unsafe"
    assert refusal_half(answer, refusal) == "safe"
    assert refusal_half(refusal, refusal) == ""
    assert refusal_half(answer, answer) == ""
