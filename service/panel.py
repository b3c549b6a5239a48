"""A side's guards at work on one text: together, each with its own time and its own way to fail."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Iterable, Sequence
from typing import TypeVar

from guards.errors import DeadlineExceeded, GuardError, Overloaded, ScoringError, WardgateError
from guards.policy import PolicyGuard
from guards.types import GuardResult, GuardStatus
from service.logs import fault_fields
from service.subject import TextSubject

log = logging.getLogger(__name__)

T = TypeVar("T")


async def judge(guards: Sequence[PolicyGuard], subject: TextSubject, deadline: float) -> tuple[GuardResult, ...]:
    """Every guard's result, in the policy's order.

    A guard that fails is a result with its fail mode applied. Running out of the caller's time and
    overload are no guard's failure: DeadlineExceeded and Overloaded reach the caller.
    """
    return await together(_evaluate(member, subject, deadline) for member in guards)


async def together(work: Iterable[Coroutine[None, None, T]]) -> tuple[T, ...]:
    """Every result, in order; or the first error at once, with nothing left running."""
    coroutines = tuple(work)
    if len(coroutines) == 1:  # most calls: nothing to run beside, so no task and no turns of the loop
        return (await coroutines[0],)
    tasks = [asyncio.create_task(one) for one in coroutines]
    try:
        return tuple(await asyncio.gather(*tasks))
    finally:
        unfinished = [task for task in tasks if task.cancel()]
        if unfinished:
            await asyncio.wait(unfinished)


def skipped(guards: Sequence[PolicyGuard]) -> tuple[GuardResult, ...]:
    """What the guards of a side say when its text never came to be."""
    return tuple(
        GuardResult(member.guard.name, member.stage, GuardStatus.SKIPPED, (), member.enforcement) for member in guards
    )


async def _evaluate(member: PolicyGuard, subject: TextSubject, deadline: float) -> GuardResult:
    started = time.monotonic()
    own_limit = started + member.timeout_s
    try:
        async with asyncio.timeout(min(own_limit, deadline) - started) as limit:
            findings = await member.guard.evaluate(subject)
    except (DeadlineExceeded, Overloaded):
        raise
    except TimeoutError:
        if limit.expired() and deadline <= own_limit:  # else it is a TimeoutError of the guard's own
            raise DeadlineExceeded("the deadline passed while the guards were judging") from None
        return _failed(member, GuardStatus.TIMEOUT, "timeout", started)
    except Exception as error:
        log.warning(
            "guard failed",
            extra={"guard": member.guard.name, "stage": member.stage.value, "error_type": _error_type(error)}
            | fault_fields(error),
        )
        return _failed(member, GuardStatus.ERROR, _error_type(error), started)
    return GuardResult(
        guard=member.guard.name,
        stage=member.stage,
        status=GuardStatus.OK,
        findings=findings,
        enforcement=member.enforcement,
        duration_s=time.monotonic() - started,
    )


def _failed(member: PolicyGuard, status: GuardStatus, error_type: str, started: float) -> GuardResult:
    return GuardResult(
        guard=member.guard.name,
        stage=member.stage,
        status=status,
        enforcement=member.enforcement,
        fail_mode_applied=member.on_error.mode(error_type),
        error_type=error_type,
        duration_s=time.monotonic() - started,
    )


def _error_type(error: Exception) -> str:
    """Of guards.types.ERROR_TYPES, so that it can label a metric."""
    match error:
        case ScoringError():
            return "scoring"
        case GuardError():
            return "guard"
        case WardgateError():
            return "dependency"
        case MemoryError():
            return "memory"
        case _:
            return "internal"
