from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guards.errors import InvalidInput
from guards.learning.heldout import HeldOutScores, ScoredPair, ScoredRow, load_scores, save_scores
from tests.guards.learning.synthetic_scores import synthetic_scores

NAMES = st.text(max_size=20)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
ROWS = st.builds(
    ScoredRow,
    NAMES,
    NAMES,
    NAMES,
    st.integers(0, 1),
    st.integers(0, 10**6),
    NUMBERS,
    st.floats(0, 1),
    st.integers(-5, 10**6),
)
PAIRS = st.builds(
    ScoredPair,
    NAMES,
    NAMES,
    NAMES,
    st.sampled_from(["", "safe", "unsafe"]),
    NUMBERS,
    NUMBERS,
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.integers(-5, 10**6),
)


@settings(deadline=None)
@given(rows=st.lists(ROWS, max_size=5), pairs=st.lists(PAIRS, max_size=5))
def test_scores_come_back_from_their_file_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, rows: list[ScoredRow], pairs: list[ScoredPair]
) -> None:
    path = tmp_path_factory.mktemp("scores") / "scores.jsonl.gz"
    scores = HeldOutScores(tuple(rows), tuple(pairs), {"request_risk": 0.8}, (1, 2), "a model", "ab" * 32)
    save_scores(scores, path)
    assert load_scores(path) == scores


def test_the_same_scores_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_scores(synthetic_scores(n=20), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def saved_lines(tmp_path: Path) -> list[str]:
    save_scores(synthetic_scores(n=4), tmp_path / "scores.jsonl.gz")
    return gzip.decompress((tmp_path / "scores.jsonl.gz").read_bytes()).decode().splitlines()


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        (1, "{}"),
        (1, '{"format": "another/1"}'),
        (2, '["request_risk", "mixed_chat", "", 2, 5, 0.1, 0.5, 1]'),
        (2, '["request_risk", "mixed_chat", "", 1, 5, NaN, 0.5, 1]'),
        (2, '["request_risk", "mixed_chat", "", 1, 5, 0.1, 1.5, 1]'),
        (2, '["request_risk", "mixed_chat", "", true, 5, 0.1, 0.5, 1]'),
        (2, '["request_risk", 7, "", 1, 5, 0.1, 0.5, 1]'),
        (2, '["request_risk"]'),
        (2, "not JSON"),
        (2, "{}"),
        (-1, '["response_reward", "refusals", "", "both", 0.1, 0.5, 3, 4, 1]'),
    ],
)
def test_a_wrong_line_is_refused_by_its_number(tmp_path: Path, line: int, wrong: str) -> None:
    lines = saved_lines(tmp_path)
    number = line if line > 0 else len(lines)
    lines[number - 1] = wrong
    path = tmp_path / "wrong.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    with pytest.raises(InvalidInput, match=rf"wrong.jsonl.gz:{number}:"):
        load_scores(path)


def test_a_file_that_lacks_its_last_lines_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(saved_lines(tmp_path)[:-3]).encode()))
    with pytest.raises(InvalidInput, match="cut short"):
        load_scores(path)
    path.write_bytes(b"not gzip at all")
    with pytest.raises(InvalidInput, match="gzip"):
        load_scores(path)
    with pytest.raises(InvalidInput, match="absent"):
        load_scores(tmp_path / "absent.jsonl.gz")


def test_numbers_that_are_no_scores_are_not_written(tmp_path: Path) -> None:
    scores = synthetic_scores(n=4)
    broken = replace(scores, rows=(replace(scores.rows[0], reward=float("nan")), *scores.rows[1:]))
    with pytest.raises(ValueError, match="JSON"):
        save_scores(broken, tmp_path / "scores.jsonl.gz")
