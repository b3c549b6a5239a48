"""A head seen by gradient probes is the head that serves."""

from __future__ import annotations

import pytest
import torch

from guards.base import ScoreInput
from guards.errors import ConfigError, UnknownName
from guards.normalize import normalize
from guards.probes.gradient.classifier import embeddings_of
from guards.probes.gradient.perturbation import slope
from guards.probes.gradient.reward_head import RewardHeadClassifier, open_reward_head
from guards.probes.targets import Text
from guards.rewards.reward_model import load_reward_model
from tests.guards.probes.gradient.conftest import TEXTS, exchanges, open_at_the_middle
from tests.guards.rewards.tiny_model import CALIBRATION, TinyModel

_STEP = 1e-7  # small against the distance to the kinks of max pooling


@pytest.mark.parametrize("name", ["request_risk", "response_reward"])
def test_it_decides_as_the_serving_model_does(tiny: TinyModel, name: str) -> None:
    """Adapter, pooling, ensemble and calibration are all in it."""
    classifier = open_at_the_middle(tiny, name)
    texts = [Text(text) for text in TEXTS] if name == "request_risk" else exchanges(TEXTS)
    serving = load_reward_model(tiny.artefact_dir, tiny.encoder_dir, "torch")
    items = [
        ScoreInput(normalize(text.prompt), None if text.response is None else normalize(text.response))
        for text in texts
    ]
    scores = [scored.heads[name] for scored in serving.score(items)]
    batch = classifier.tokenize(texts)
    vectors = embeddings_of(classifier, batch)
    served = torch.tensor([score.reward for score in scores])
    torch.testing.assert_close(classifier.rewards(vectors, batch), served, atol=1e-5, rtol=0)
    threshold = CALIBRATION.risk(classifier.turn)
    decisions = classifier.logits(vectors, batch).argmax(-1)
    assert decisions.tolist() == [int(score.risk >= threshold) for score in scores]
    assert set(decisions.tolist()) == {0, 1}


def test_both_labels_are_alike_exactly_at_the_threshold(head: RewardHeadClassifier, tiny: TinyModel) -> None:
    batch = head.tokenize([Text("do re mi")])
    vectors = embeddings_of(head, batch)
    turn = float(head.rewards(vectors, batch))
    there = open_reward_head(tiny.artefact_dir, tiny.encoder_dir, "request_risk", turn)
    assert there.logits(vectors, batch).tolist() == [[0.0, 0.0]]
    assert there.labels == ("passes", "withheld")


def test_its_gradient_is_what_small_steps_measure(tiny: TinyModel) -> None:
    """In double precision, by central differences, through the very functions of the attacks."""
    classifier = open_at_the_middle(tiny)
    classifier.network.double()
    batch = classifier.tokenize([Text("do re mi"), Text("x y z w")])
    vectors = embeddings_of(classifier, batch)
    gold = torch.tensor([1, 0])
    gradient = slope(classifier, vectors, batch, gold).gradient
    assert gradient.dtype == torch.float64
    generator = torch.Generator().manual_seed(3)
    for _ in range(20):
        row = int(torch.randint(2, (1,), generator=generator))
        place = int(torch.randint(1, int(batch.mask[row].sum()) - 1, (1,), generator=generator))
        column = int(torch.randint(vectors.shape[-1], (1,), generator=generator))
        step = torch.zeros_like(vectors)
        step[row, place, column] = _STEP
        up, down = (classifier.logits(vectors + sign * step, batch) for sign in (1, -1))
        against = [(one[row, 1 - gold[row]] - one[row, gold[row]]).item() for one in (up, down)]
        assert (against[0] - against[1]) / (2 * _STEP) == pytest.approx(
            float(gradient[row, place, column]), rel=1e-4, abs=1e-8
        )


def test_company_in_the_batch_changes_nothing(head: RewardHeadClassifier) -> None:
    together = head.tokenize([Text(text) for text in TEXTS])
    logits = head.logits(embeddings_of(head, together), together)
    gold = torch.tensor([1] * len(TEXTS))
    gradient = slope(head, embeddings_of(head, together), together, gold).gradient
    for row, text in enumerate(TEXTS):
        alone = head.tokenize([Text(text)])
        own = embeddings_of(head, alone)
        torch.testing.assert_close(head.logits(own, alone)[0], logits[row], atol=1e-5, rtol=0)
        length = alone.ids.shape[1]
        alone_gradient = slope(head, own, alone, gold[:1]).gradient[0]
        torch.testing.assert_close(alone_gradient, gradient[row, :length], atol=1e-5, rtol=1e-4)
        assert not gradient[row, length:].any()


def test_only_the_judged_texts_own_tokens_may_be_attacked(head: RewardHeadClassifier, tiny: TinyModel) -> None:
    batch = head.tokenize([Text("do re"), Text("a")])
    assert batch.attackable.tolist() == [[False, True, True, True, True, False], [False, True] + [False] * 4]
    assert batch.spans == (((0, 1), (1, 2), (3, 4), (4, 5)), ((0, 1),))
    response = open_at_the_middle(tiny, "response_reward")
    batch = response.tokenize([Text("a b", "c d e")])
    assert batch.texts == ("c d e",)
    ids = batch.ids[0][batch.attackable[0]].tolist()
    assert ids == head.tokenize([Text("c d e")]).ids[0, 1:-1].tolist()
    assert batch.segments[0][batch.attackable[0]].tolist() == [1, 1, 1]


def test_of_a_long_text_the_first_window_is_attacked(head: RewardHeadClassifier) -> None:
    batch = head.tokenize([Text("a " * 40)])
    assert int(batch.attackable.sum()) == 12
    assert len(batch.spans[0]) == 12


def test_its_parameters_are_frozen(head: RewardHeadClassifier) -> None:
    assert not head.network.training
    assert not any(parameter.requires_grad for parameter in head.network.parameters())
    assert not head.embedding_matrix.requires_grad


def test_what_it_cannot_read_is_refused(head: RewardHeadClassifier, tiny: TinyModel) -> None:
    with pytest.raises(ConfigError, match="leave out `answers_to`"):
        head.tokenize([Text("a", "b")])
    with pytest.raises(UnknownName, match="request_risk"):
        open_reward_head(tiny.artefact_dir, tiny.encoder_dir, "nothing", 0.0)


def test_whole_words_are_letters_that_are_one_token(head: RewardHeadClassifier) -> None:
    words = head.whole_words()
    assert sorted(words) == sorted("abcdefghijklmnopqrstuvwxyz")
    assert head.tokenize([Text("q")]).ids[0, 1] == words["q"]
