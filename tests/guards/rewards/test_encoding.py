from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.base import ScoreInput
from guards.errors import ModelError
from guards.normalize import normalize
from guards.readings.find import request_input
from guards.rewards.encoding import EncodedText, TextEncoder, pad
from tests.guards.rewards.tiny_model import LETTERS, WINDOW, TinyModel

CLS, SEP = 2, 3
texts = st.text(alphabet=st.sampled_from(LETTERS + "    \n\u200b\u0430\u00e9"), max_size=120)


@pytest.fixture(scope="module")
def encoder(tiny: TinyModel) -> TextEncoder:
    return TextEncoder.from_file(tiny.encoder_dir / "tokenizer.json", WINDOW)


def prompt(text: str) -> ScoreInput:
    return ScoreInput(normalize(text))


def exchange(question: str, answer: str) -> ScoreInput:
    return ScoreInput(normalize(question), normalize(answer))


@given(text=texts)
def test_the_windows_of_a_prompt_cover_every_code_point_of_the_original(encoder: TextEncoder, text: str) -> None:
    encoded = encoder.encode(prompt(text), max_windows=1000)
    assert encoded.coverage.complete
    assert encoded.sequences[0].start == 0
    assert encoded.sequences[-1].end == len(text)
    reached = 0
    for window in encoded.sequences:
        gap = text[reached : window.start]
        assert normalize(gap).text.strip() == ""
        reached = max(reached, window.end)


@given(question=texts, answer=texts)
def test_an_exchange_puts_the_prompts_tail_before_every_response_window(
    encoder: TextEncoder, question: str, answer: str
) -> None:
    encoded = encoder.encode(exchange(question, answer), max_windows=1000)
    for window in encoded.sequences:
        ids, segments = window.input_ids.tolist(), window.segment_ids.tolist()
        boundary = segments.index(1)
        assert segments == sorted(segments)
        assert (ids[0], ids[boundary - 1], ids[-1]) == (CLS, SEP, SEP)
        assert boundary <= WINDOW.context + 2
        assert len(window) <= WINDOW.size + WINDOW.context + 3
        assert 0 <= window.start <= window.end <= len(answer)


@given(before=texts, question=texts, answer=texts)
def test_a_response_is_read_after_the_conversation_where_there_is_more_of_it_than_the_prompt(
    encoder: TextEncoder, before: str, question: str, answer: str
) -> None:
    said = f"{before}\n{question}"
    told = ScoreInput(normalize(question), normalize(answer), conversation=normalize(said))
    windows, same = (encoder.encode(item, 1000).sequences for item in (told, exchange(said, answer)))
    assert [one.input_ids.tolist() for one in windows] == [one.input_ids.tolist() for one in same]


@given(text=texts, limit=st.integers(1, 4))
def test_bounded_work_is_never_silent(encoder: TextEncoder, text: str, limit: int) -> None:
    whole = encoder.encode(prompt(text), max_windows=1000)
    bounded = encoder.encode(prompt(text), max_windows=limit)
    assert bounded.coverage.windows == len(bounded.sequences) <= limit
    assert bounded.coverage.tokens_total == whole.coverage.tokens_total
    # a last window pushed back to be full can leave one before it with nothing of its own
    assert bounded.coverage.complete == (_read(bounded, text) == _read(whole, text))
    assert bounded.coverage.complete or len(whole.sequences) > limit


def _read(encoded: EncodedText, text: str) -> set[int]:
    """The places of the text that some window covers, blanks aside."""
    windows = ((window.start, window.end) for window in encoded.sequences)
    return {at for start, end in windows for at in range(start, end) if not text[at].isspace()}


def test_bounded_work_looks_at_both_ends(encoder: TextEncoder) -> None:
    text = "a" * 90 + " " + "b" * 90
    encoded = encoder.encode(prompt(text), max_windows=2)
    assert encoded.sequences[0].start == 0
    assert encoded.sequences[-1].end == len(text)


def test_an_empty_text_still_gives_one_window(encoder: TextEncoder) -> None:
    alone = encoder.encode(prompt(""), max_windows=4)
    answer = encoder.encode(exchange("hi", ""), max_windows=4)
    assert alone.sequences[0].input_ids.tolist() == [CLS, SEP]
    assert answer.sequences[0].segment_ids.tolist()[-1] == 1
    assert alone.coverage.complete
    assert answer.coverage.complete


def test_a_separator_written_by_the_caller_is_text(encoder: TextEncoder) -> None:
    encoded = encoder.encode(prompt("a [SEP] b [CLS]"), max_windows=4)
    ids = [token for window in encoded.sequences for token in window.input_ids.tolist()[1:-1]]
    assert CLS not in ids
    assert SEP not in ids


def test_truncation_and_padding_of_the_tokenizer_file_are_off(encoder: TextEncoder) -> None:
    assert encoder.encode(prompt("a"), max_windows=4).sequences[0].input_ids.shape == (3,)
    assert encoder.encode(prompt("a " * 50), max_windows=1000).coverage.tokens_scored == 50


@given(sample=st.lists(texts, min_size=1, max_size=5))
def test_a_batch_holds_every_window_unchanged_and_masks_the_rest(encoder: TextEncoder, sample: list[str]) -> None:
    sequences = [encoder.encode(prompt(text), 1).sequences[0] for text in sample]
    batch = pad(sequences)
    for row, sequence in enumerate(sequences):
        n = len(sequence)
        assert batch.attention_mask[row].sum() == n
        assert batch.input_ids[row, :n].tolist() == sequence.input_ids.tolist()
        assert not batch.input_ids[row, n:].any()


def test_a_missing_tokenizer_says_what_to_run(tiny: TinyModel) -> None:
    with pytest.raises(ModelError, match="wardgate models pull"):
        TextEncoder.from_file(tiny.encoder_dir / "absent.json", WINDOW)


def test_a_reading_adds_windows_that_point_to_what_was_read(encoder: TextEncoder) -> None:
    text = "a b [[YSBjYWJiYWdlIGluIGEgYmFn]] a"
    item = request_input(text)
    plain = encoder.encode(ScoreInput(item.prompt), max_windows=1000)
    encoded = encoder.encode(item, max_windows=1000)
    added = encoded.sequences[len(plain.sequences) :]
    assert [one.input_ids.tolist() for one in encoded.sequences[: len(plain.sequences)]] == [
        one.input_ids.tolist() for one in plain.sequences
    ]
    assert {(text[one.start : one.end], one.reading) for one in added} == {("YSBjYWJiYWdlIGluIGEgYmFn", "base64")}
    assert all(one.reading == "" for one in plain.sequences)
    assert encoded.coverage.complete
    assert encoded.coverage.tokens_total > plain.coverage.tokens_total


def test_a_reading_that_is_cut_is_told_too(encoder: TextEncoder) -> None:
    item = request_input("YSBjYWJiYWdlIGluIGEgYmFnIGEgY2FiYmFnZSBpbiBhIGJhZyBhIGNhYmJhZ2UgaW4gYSBiYWcg" * 8)
    assert item.readings
    assert not encoder.encode(item, max_windows=1).coverage.complete
