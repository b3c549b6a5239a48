from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.base import ScoreInput
from guards.explainers.tokens import token_windows
from guards.explainers.window import Side
from guards.normalize import normalize
from guards.rewards.encoding import TextEncoder
from guards.rewards.manifest import SentencesSpec
from guards.rewards.sentences import sentence_bounds
from tests.guards.rewards.tiny_model import LETTERS, WINDOW, TinyModel

SENTENCES = SentencesSpec(least=4, from_tokens=8)
texts = st.text(alphabet=st.sampled_from(LETTERS + "    \n..!?"), max_size=300)


@pytest.fixture(scope="module")
def encoder(tiny: TinyModel) -> TextEncoder:
    window = WINDOW.model_copy(update={"sentences": SENTENCES})
    return TextEncoder.from_file(tiny.encoder_dir / "tokenizer.json", window)


def alone(encoder: TextEncoder, text: str, max_windows: int = 1000) -> list[str]:
    """What is read alone of a prompt."""
    encoded = encoder.encode(ScoreInput(normalize(text)), max_windows)
    return [text[one.start : one.end].strip() for one in encoded.sequences[encoded.coverage.windows :]]


@given(text=texts, least=st.integers(1, 9), from_tokens=st.integers(2, 30))
def test_sentences_follow_each_other_without_gaps_and_none_is_short(
    encoder: TextEncoder, text: str, least: int, from_tokens: int
) -> None:
    offsets = encoder.tokens(text).offsets
    bounds = sentence_bounds(text, offsets, SentencesSpec(least=least, from_tokens=from_tokens))
    if not bounds:
        return
    assert len(offsets) >= from_tokens
    assert len(bounds) > 1
    assert (bounds[0][0], bounds[-1][1]) == (0, len(offsets))
    assert all(before[1] == after[0] for before, after in pairwise(bounds))
    assert all(end - start >= least for start, end in bounds)


def test_a_sentence_among_others_is_read_alone_and_its_place_is_known(encoder: TextEncoder) -> None:
    assert alone(encoder, "abcdef gh. Ijklm no? pqrst\nuvwxyz") == ["abcdef gh.", "Ijklm no?", "pqrst", "uvwxyz"]


def test_what_is_short_joins_its_neighbour(encoder: TextEncoder) -> None:
    assert alone(encoder, "a. bcdef. k. Lmno st. u.") == ["a. bcdef.", "k. Lmno st. u."]


def test_a_short_text_and_one_of_a_single_sentence_are_read_as_they_are(encoder: TextEncoder) -> None:
    assert alone(encoder, "abc. de") == []
    assert alone(encoder, "abcdefghij klmnop qrstuv.") == []


def test_a_sentence_that_is_longer_than_a_window_is_read_in_windows(encoder: TextEncoder) -> None:
    assert alone(encoder, "abcdefghijkl mnop qrs. tuvwxyz") == ["tuvwxyz"]


def test_what_is_beyond_the_windows_is_not_read_alone_either(encoder: TextEncoder) -> None:
    text = " ".join("abcdefgh." for _ in range(20))
    assert len(alone(encoder, text)) == 20
    assert 0 < len(alone(encoder, text, max_windows=2)) <= 4


def test_a_text_has_a_bounded_number_of_sentences(tiny: TinyModel) -> None:
    window = WINDOW.model_copy(update={"size": 192, "sentences": SENTENCES})
    encoder = TextEncoder.from_file(tiny.encoder_dir / "tokenizer.json", window)
    assert 200 <= len(alone(encoder, "abcd. " * 3000, max_windows=10_000)) <= 256


def test_a_long_run_of_signs_takes_no_longer_than_other_text() -> None:
    """Tried anew from each of its signs, a run of these would take hours."""
    spec = SentencesSpec(least=1, from_tokens=2)
    for sign in (".", ".'", "'", " ", "\n", "?!"):
        text = sign * 200_000
        assert len(sentence_bounds(text, [(0, 1), (len(text) - 1, len(text))], spec)) <= 2


def test_a_response_has_no_sentences(encoder: TextEncoder) -> None:
    text = normalize("abcdef gh. Ijklm no?")
    encoded = encoder.encode(ScoreInput(text, text), 1000)
    assert len(encoded.sequences) == encoded.coverage.windows


@given(text=texts)
def test_sentences_change_neither_windows_nor_coverage(tiny: TinyModel, encoder: TextEncoder, text: str) -> None:
    item = ScoreInput(normalize(text))
    plain = TextEncoder.from_file(tiny.encoder_dir / "tokenizer.json", WINDOW).encode(item, 1000)
    encoded = encoder.encode(item, 1000)
    assert encoded.coverage == plain.coverage
    assert [one.input_ids.tolist() for one in encoded.sequences[: len(plain.sequences)]] == [
        one.input_ids.tolist() for one in plain.sequences
    ]


@given(text=texts)
def test_an_explanation_has_every_sentence_as_a_window(encoder: TextEncoder, text: str) -> None:
    item = ScoreInput(normalize(text))
    windows, encoded = token_windows(encoder, item, 1000), encoder.encode(item, 1000)
    assert len(windows) == len(encoded.sequences)
    for window, sequence in zip(windows, encoded.sequences, strict=True):
        own = [source for source in window.sources if source.side is Side.PROMPT]
        assert len(own) == len(sequence) - 2
        assert all(sequence.start <= source.start and source.end <= sequence.end for source in own)
