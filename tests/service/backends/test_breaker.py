from __future__ import annotations

from contextlib import suppress

import pytest

from service.backends.breaker import CircuitBreaker, CircuitOpen, Outcome


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Refused(Exception):
    pass


def outcome_of(error: BaseException) -> Outcome:
    match error:
        case ConnectionError():
            return Outcome.FAILED
        case Refused():
            return Outcome.ANSWERED
        case _:
            return Outcome.UNKNOWN


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker(outcome_of, failures=3, open_s=5.0, clock=clock)


def call(breaker: CircuitBreaker, error: BaseException | None = None) -> None:
    """A call that ends with `error`; only CircuitOpen comes out."""
    with suppress(ConnectionError, Refused, KeyboardInterrupt), breaker.call():
        if error is not None:
            raise error


def opened(breaker: CircuitBreaker) -> None:
    for _ in range(3):
        call(breaker, ConnectionError())


def test_it_opens_after_failures_in_a_row(breaker: CircuitBreaker) -> None:
    opened(breaker)
    assert breaker.is_open
    with pytest.raises(CircuitOpen) as caught:
        call(breaker)
    assert caught.value.retry_after_s == 5.0


@pytest.mark.parametrize("answer", [None, Refused()])
def test_any_answer_starts_the_count_anew(breaker: CircuitBreaker, answer: Exception | None) -> None:
    for _ in range(5):
        call(breaker, ConnectionError())
        call(breaker, ConnectionError())
        call(breaker, answer)
    assert not breaker.is_open


def test_a_caller_who_leaves_neither_helps_nor_hurts(breaker: CircuitBreaker) -> None:
    call(breaker, ConnectionError())
    call(breaker, ConnectionError())
    call(breaker, KeyboardInterrupt())
    assert not breaker.is_open
    call(breaker, ConnectionError())
    assert breaker.is_open


def test_after_a_while_one_trial_is_let_through(breaker: CircuitBreaker, clock: Clock) -> None:
    opened(breaker)
    clock.now += 5.0
    with breaker.call(), pytest.raises(CircuitOpen):
        call(breaker)
    assert not breaker.is_open
    call(breaker)


def test_a_failed_trial_keeps_it_open(breaker: CircuitBreaker, clock: Clock) -> None:
    opened(breaker)
    clock.now += 5.0
    call(breaker, ConnectionError())
    clock.now += 4.9
    with pytest.raises(CircuitOpen):
        call(breaker)
    clock.now += 0.1
    call(breaker)
    assert not breaker.is_open


def test_a_trial_whose_caller_left_makes_room_for_the_next(breaker: CircuitBreaker, clock: Clock) -> None:
    opened(breaker)
    clock.now += 5.0
    call(breaker, KeyboardInterrupt())
    assert breaker.is_open
    call(breaker)
    assert not breaker.is_open


def test_a_call_from_before_it_opened_does_not_end_the_trial(breaker: CircuitBreaker, clock: Clock) -> None:
    early = breaker.call()
    early.__enter__()
    opened(breaker)
    clock.now += 5.0
    with breaker.call():
        early.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
        with pytest.raises(CircuitOpen):
            call(breaker)
    assert not breaker.is_open
