"""Who is in a canary: always the same, more as it grows, and as many as the share says."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from service.exchange import CallContext, CheckCall
from service.rollout.share import in_share, place

names = st.text(st.characters(codec="utf-8"), max_size=40)
contexts = st.builds(CallContext, session_id=names, user_hash=names)
percents = st.floats(0.01, 100)
NOBODY = CallContext()


def call(context: CallContext = NOBODY, request_id: str = "r") -> CheckCall:
    return CheckCall(request_id=request_id, deadline=time.monotonic() + 1, messages=(), context=context)


@given(contexts, names, percents, percents)
def test_who_is_in_a_share_is_in_every_larger_one(
    context: CallContext, request_id: str, one: float, other: float
) -> None:
    smaller, larger = sorted((one, other))
    asked = call(context, request_id)
    assert in_share(asked, larger) or not in_share(asked, smaller)


@given(st.text(min_size=1, max_size=40), names, names, names, percents)
def test_a_session_stays_where_it_is_whatever_its_requests_are(
    session: str, user: str, first: str, second: str, percent: float
) -> None:
    one = call(CallContext(session_id=session, user_hash=user, locale="de"), first)
    other = call(CallContext(session_id=session, app="another"), second)
    assert in_share(one, percent) == in_share(other, percent)


@given(st.text(min_size=1, max_size=40), names, names)
def test_without_a_session_a_user_stays(user: str, first: str, second: str) -> None:
    assert place(call(CallContext(user_hash=user), first)) == place(call(CallContext(user_hash=user), second))


def test_without_a_session_and_a_user_every_request_has_a_place_of_its_own() -> None:
    assert len({place(call(request_id=f"request-{i}")) for i in range(100)}) > 90


@given(contexts, names)
def test_everybody_is_in_a_hundred_percent(context: CallContext, request_id: str) -> None:
    assert 0 <= place(call(context, request_id)) < 10_000
    assert in_share(call(context, request_id), 100.0)


@given(st.integers(0, 2**32), st.sampled_from([0.5, 1.0, 5.0, 10.0, 33.33, 50.0, 90.0]))
def test_the_share_of_sessions_is_what_it_says_within_binomial_bounds(start: int, percent: float) -> None:
    sessions = 4000
    inside = sum(in_share(call(CallContext(session_id=f"session-{start + i}")), percent) for i in range(sessions))
    share = percent / 100
    # six standard deviations: a sound hash fails this once in 5e8 times
    assert abs(inside - sessions * share) <= 6 * (sessions * share * (1 - share)) ** 0.5


def test_a_sessions_place_is_the_same_in_every_release() -> None:
    assert [place(call(CallContext(session_id=f"session-{i}"))) for i in range(4)] == PLACES


PLACES = [4405, 9456, 6539, 8089]
