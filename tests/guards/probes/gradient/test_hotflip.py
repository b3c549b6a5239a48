from __future__ import annotations

import re

import pytest
import torch

from guards.probes.gradient.classifier import embeddings_of
from guards.probes.gradient.hotflip import Flip, FlipLimits, flipped_text, hotflip
from guards.probes.gradient.reward_head import RewardHeadClassifier
from guards.probes.targets import Text
from tests.guards.probes.gradient.conftest import TEXTS, open_at_the_middle
from tests.guards.rewards.tiny_model import TinyModel

# Words of one letter are whole words to the tiny tokenizer, longer ones are several tokens; digits are no words. Many
# letters in a row would be closed up to a word by normalization.
LETTERS = "a do b re c mi d"
SENTENCES = [LETTERS, "q or 7 e", "do re mi fa", "why not, x?"]


def decision(head: RewardHeadClassifier, text: str) -> int:
    batch = head.tokenize([Text(text)])
    with torch.no_grad():
        return int(head.logits(embeddings_of(head, batch), batch).argmax())


def words(text: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]", text)


@pytest.mark.parametrize("text", SENTENCES)
def test_at_most_so_many_words_become_other_whole_words(head: RewardHeadClassifier, text: str) -> None:
    for limit in (1, 2, 3):
        flip = hotflip(head, Text(text), decision(head, text), FlipLimits(words=limit))
        before, after = words(text), words(flip.text)
        changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
        assert flip.clean
        assert len(changed) == flip.replaced <= limit
        assert all(old.isalpha() and new in head.whole_words() for old, new in changed)


@pytest.mark.parametrize("text", SENTENCES)
def test_what_it_says_of_its_text_is_what_the_classifier_says(head: RewardHeadClassifier, text: str) -> None:
    gold = decision(head, text)
    flip = hotflip(head, Text(text), gold, FlipLimits())
    assert flip.right == (decision(head, flip.text) == gold)


def test_some_decision_is_turned(head: RewardHeadClassifier) -> None:
    flips = [hotflip(head, Text(text), decision(head, text), FlipLimits()) for text in [*SENTENCES, *TEXTS]]
    assert not all(flip.right for flip in flips)


def test_every_text_that_the_classifier_was_shown_is_counted(tiny: TinyModel) -> None:
    classifier = open_at_the_middle(tiny)
    shown: list[int] = []
    classifier.network.pooled.encoder.register_forward_hook(
        lambda module, args, kwargs, output: shown.append(len(kwargs["inputs_embeds"])), with_kwargs=True
    )
    flip = hotflip(classifier, Text(LETTERS), decision(classifier, LETTERS), FlipLimits(tries=4))
    assert flip.queries == sum(shown) - 1  # one was the test's own


def test_a_text_that_is_judged_wrong_as_it_is_stays_as_it_is(head: RewardHeadClassifier) -> None:
    wrong = 1 - decision(head, LETTERS)
    assert hotflip(head, Text(LETTERS), wrong, FlipLimits()) == Flip(LETTERS, False, False, 0, 1)


def test_with_a_limit_of_likeness_no_unlike_word_comes_in(head: RewardHeadClassifier) -> None:
    matrix = torch.nn.functional.normalize(head.embedding_matrix, dim=-1)
    tokens = head.whole_words()
    text = LETTERS
    likeness = 0.1
    flip = hotflip(head, Text(text), decision(head, text), FlipLimits(min_cosine=likeness))
    for old, new in zip(words(text), words(flip.text), strict=True):
        if old != new and len(old) == 1:
            assert float(matrix[tokens[old]] @ matrix[tokens[new]]) >= likeness
    assert hotflip(head, Text(text), decision(head, text), FlipLimits(min_cosine=1.0)).text == text


def test_a_text_without_words_is_left_alone(head: RewardHeadClassifier) -> None:
    for text in ("", "1 2 3?"):
        flip = hotflip(head, Text(text), decision(head, text), FlipLimits())
        assert (flip.text, flip.right, flip.replaced) == (text, True, 0)


def test_of_an_exchange_only_the_response_is_changed(tiny: TinyModel) -> None:
    response = open_at_the_middle(tiny, "response_reward")
    batch = response.tokenize([Text("a b", "c d e")])
    gold = int(response.logits(embeddings_of(response, batch), batch).argmax())
    flip = hotflip(response, Text("a b", "c d e"), gold, FlipLimits())
    assert flip.replaced
    assert len(words(flip.text)) == 3


def test_for_training_the_same_seed_gives_the_same_text(head: RewardHeadClassifier) -> None:
    text = LETTERS
    gold = decision(head, text)
    texts = [flipped_text(text, head, gold, seed) for seed in (1, 1, 2, 3, 4)]
    assert texts[0] == texts[1]
    assert len(set(texts)) > 1
