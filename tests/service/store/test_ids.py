from __future__ import annotations

import time
import uuid

from hypothesis import given, strategies

from service.store.ids import is_id, new_id

TIMES_NS = strategies.integers(0, ((1 << 48) - 1) * 1_000_000)


@given(TIMES_NS, TIMES_NS)
def test_ids_sort_by_their_time_to_a_quarter_of_a_microsecond(one: int, other: int) -> None:
    earlier, later = sorted((one, other))
    if later - earlier > 250:
        assert new_id(earlier) < new_id(later)


@given(TIMES_NS)
def test_an_id_is_a_uuid_of_version_7_with_its_millisecond(at_ns: int) -> None:
    made = uuid.UUID(new_id(at_ns))
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == at_ns // 1_000_000
    assert is_id(str(made))


def test_ids_of_one_moment_differ() -> None:
    now = time.time_ns()
    assert len({new_id(now) for _ in range(1000)}) == 1000


def test_other_text_is_no_id() -> None:
    assert not is_id("")
    assert not is_id(str(uuid.UUID(int=0)))
    assert not is_id(new_id() + "'")
    assert not is_id(new_id().upper())
