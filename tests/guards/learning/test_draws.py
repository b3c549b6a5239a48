from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from guards.learning.sampling import Draw, batches

GROUPS = st.dictionaries(
    st.tuples(st.sampled_from("abcdef"), st.integers(0, 2)), st.integers(1, 60), min_size=1, max_size=10
)


def draw(sizes: dict[tuple[str, int], int], seed: int = 1) -> tuple[Draw, dict[int, tuple[str, int]]]:
    owner: dict[int, tuple[str, int]] = {}
    groups = {}
    for group, size in sorted(sizes.items()):
        rows = list(range(len(owner), len(owner) + size))
        owner |= dict.fromkeys(rows, group)
        groups[group] = rows
    return Draw(groups, {}, random.Random(seed)), owner


@given(sizes=GROUPS, count=st.integers(1, 400))
def test_every_source_has_its_say_and_none_more_than_twice_its_rows(
    sizes: dict[tuple[str, int], int], count: int
) -> None:
    drawn, owner = draw(sizes)
    seen = Counter(owner[row] for row in drawn.epoch(count))
    assert set(seen) == set(sizes)
    assert all(seen[group] <= 2 * size for group, size in sizes.items())


def test_labels_have_the_same_share_and_a_big_source_counts_by_its_root() -> None:
    drawn, owner = draw({("big", 0): 6400, ("small", 0): 100, ("only", 1): 3000})
    seen = Counter(owner[row] for row in drawn.epoch(900))
    assert seen["only", 1] == 450
    assert abs(seen["big", 0] - 8 * seen["small", 0]) <= 8


def test_labels_can_have_shares_of_their_own_and_a_missing_one_leaves_its_share_to_the_others() -> None:
    groups = {("one", 0): range(900), ("two", 1): range(900, 1800)}
    drawn = Draw(groups, {}, random.Random(1), {0: 3.0, 1: 1.0, 2: 4.0}).epoch(400)
    assert Counter(row < 900 for row in drawn) == {True: 300, False: 100}


def test_an_epoch_goes_on_where_the_last_one_stopped() -> None:
    drawn, _ = draw({("one", 0): 100})
    assert sorted(drawn.epoch(50) + drawn.epoch(50)) == list(range(100))


@given(
    lengths=st.lists(st.integers(1, 300), max_size=200),
    batch_tokens=st.integers(64, 2048),
    seed=st.integers(0, 5),
)
def test_batches_hold_every_row_once_and_keep_to_their_tokens(lengths: list[int], batch_tokens: int, seed: int) -> None:
    made = batches(range(len(lengths)), lambda row: lengths[row], batch_tokens, random.Random(seed))
    assert sorted(row for batch in made for row in batch) == list(range(len(lengths)))
    for batch in made:
        assert len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= batch_tokens
