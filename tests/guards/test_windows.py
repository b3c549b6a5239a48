from __future__ import annotations

from itertools import pairwise
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.windows import windows


@st.composite
def _plans(draw: st.DrawFn) -> tuple[int, int, int]:
    size = draw(st.integers(1, 64))
    return draw(st.integers(0, 2_000)), size, draw(st.integers(0, size - 1))


@given(_plans())
def test_every_token_is_in_a_window(plan: tuple[int, int, int]) -> None:
    n_tokens, size, overlap = plan
    covered = {token for start, end in windows(n_tokens, size, overlap) for token in range(start, end)}
    assert covered == set(range(n_tokens))


@given(_plans())
def test_windows_are_full_and_share_at_least_the_overlap(plan: tuple[int, int, int]) -> None:
    n_tokens, size, overlap = plan
    got = windows(n_tokens, size, overlap)
    assert all(end - start == min(size, n_tokens) for start, end in got)
    for (first, first_end), (second, second_end) in pairwise(got):
        assert first < second
        assert first_end < second_end
        assert first_end - second >= overlap


@given(_plans())
def test_there_are_no_more_windows_than_needed(plan: tuple[int, int, int]) -> None:
    n_tokens, size, overlap = plan
    needed = 1 + ceil(max(n_tokens - size, 0) / (size - overlap)) if n_tokens else 0
    assert len(windows(n_tokens, size, overlap)) == needed


def test_the_last_window_is_shifted_back_to_be_full() -> None:
    assert windows(11, 5, 1) == ((0, 5), (4, 9), (6, 11))


def test_a_short_text_is_one_window_and_no_text_is_none() -> None:
    assert windows(3, 5, 1) == ((0, 3),)
    assert windows(5, 5, 1) == ((0, 5),)
    assert windows(0, 5, 1) == ()


@pytest.mark.parametrize(
    ("arguments", "name"),
    [((-1, 5, 1), "n_tokens"), ((5, 0, 0), "size"), ((5, 5, 5), "overlap"), ((5, 5, -1), "overlap")],
)
def test_a_bad_argument_is_named(arguments: tuple[int, int, int], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} must"):
        windows(*arguments)
