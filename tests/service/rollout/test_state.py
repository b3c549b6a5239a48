"""What a rollout may become, and how it is kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.errors import ConfigError, PreconditionFailed
from service.rollout.state import Canary, RolloutState, read_state, write_state

A, B, C, D = (letter * 64 for letter in "abcd")
digests = st.sampled_from([A, B, C, D])
steps = st.one_of(
    st.tuples(st.just("active"), digests),
    st.tuples(st.just("canary"), digests),
    st.tuples(st.just("shadow"), digests),
    st.tuples(st.just("none"), digests),
    st.tuples(st.just("back"), digests),
)


def start(**more: object) -> RolloutState:
    return RolloutState(format=1, active=A, **more)  # type: ignore[arg-type]


def after(state: RolloutState, step: tuple[str, str]) -> RolloutState:
    what, digest = step
    match what:
        case "active":
            return state.with_active(digest)
        case "canary":
            return state.with_canary(digest, 12.5)
        case "shadow":
            return state.with_shadow(digest)
        case "none":
            return state.without(digest)
        case _:
            return state.rolled_back()


@given(taken=st.lists(steps, max_size=60))
def test_whatever_is_asked_a_version_has_one_role_and_the_file_brings_the_same_back(
    taken: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    state = start()
    for step in taken:
        try:
            changed = after(state, step)
        except PreconditionFailed:
            continue
        role = changed.role(step[1])
        assert step[0] == "back" or (role.value if role else "none") == step[0]
        state = changed
    assert len(set(state.in_use)) == len(state.in_use)
    assert sum(state.weight(digest) for digest in (A, B, C, D)) == pytest.approx(1)
    folder = tmp_path_factory.mktemp("state")
    write_state(folder, state)
    assert read_state(folder) == state
    assert [file.name for file in folder.iterdir()] == ["rollout.json"]


@given(st.lists(digests, min_size=1, max_size=20))
def test_rolling_back_goes_the_same_way_back(promoted: list[str]) -> None:
    states = [start()]
    for digest in promoted:
        if digest != states[-1].active:
            states.append(states[-1].with_active(digest))
    for before in reversed(states[:-1]):
        assert states.pop().rolled_back() == before


def test_a_canary_takes_the_place_of_another_and_leaves_the_shadows_alone() -> None:
    state = start(canary=Canary(digest=B, percent=5.0), shadows=(C,))
    assert state.with_canary(D, 10.0).in_use == (A, D, C)
    assert state.with_canary(C, 10.0).in_use == (A, C)
    assert state.with_active(B) == start(shadows=(C,)).model_copy(update={"active": B, "history": (A,)})


@pytest.mark.parametrize("step", [("canary", A), ("shadow", A), ("none", A), ("back", A)])
def test_what_would_leave_nobody_active_is_refused(step: tuple[str, str]) -> None:
    with pytest.raises(PreconditionFailed):
        after(start(), step)


def test_shadows_are_few() -> None:
    state = start()
    for letter in "bcde":
        state = state.with_shadow(letter * 64)
    assert state.with_shadow(B) == state
    with pytest.raises(PreconditionFailed, match="4 shadows"):
        state.with_shadow("f" * 64)


def test_nothing_was_rolled_out_in_an_empty_folder(tmp_path: Path) -> None:
    assert read_state(tmp_path) is None


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        json.dumps({"active": A}),
        json.dumps({"format": 2, "active": A}),
        json.dumps({"format": 1, "active": "a" * 63}),
        json.dumps({"format": 1, "active": A, "canary": {"digest": B, "percent": 0}}),
        json.dumps({"format": 1, "active": A, "canary": {"digest": B, "percent": "10"}}),
        json.dumps({"format": 1, "active": A, "canary": {"digest": A, "percent": 10}}),
        json.dumps({"format": 1, "active": A, "shadows": [B, B]}),
        json.dumps({"format": 1, "active": A, "paused": True}),
    ],
)
def test_a_state_that_is_not_ours_is_refused_with_the_mend(tmp_path: Path, content: str) -> None:
    (tmp_path / "rollout.json").write_text(content)
    with pytest.raises(ConfigError, match="delete it to start from the configured model"):
        read_state(tmp_path)


def test_a_folder_that_takes_no_state_says_so_and_changes_nothing(tmp_path: Path) -> None:
    write_state(tmp_path, start())
    with pytest.raises(PreconditionFailed, match="cannot be written"):
        write_state(tmp_path / "none", start(shadows=(B,)))
    assert read_state(tmp_path) == start()
