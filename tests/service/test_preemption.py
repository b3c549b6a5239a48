"""Live requests go first."""

from __future__ import annotations

import asyncio

from service.preemption import Preemption
from tests.waiting import until


class Process:
    def __init__(self) -> None:
        self.running = True
        self.changes: list[str] = []

    def stop(self) -> None:
        self.running = False
        self.changes.append("stop")

    def go_on(self) -> None:
        self.running = True
        self.changes.append("go on")


def preemption(process: Process, idle_s: float = 0.02, min_share: float = 0.0) -> tuple[Preemption, list[int]]:
    stops: list[int] = []
    made = Preemption(idle_s, min_share, lambda: stops.append(1))
    made.attach(process)
    return made, stops


async def test_it_stops_at_once_and_goes_on_when_no_request_came_for_a_while() -> None:
    process = Process()
    made, stops = preemption(process)
    made.busy(True)
    assert not process.running
    made.busy(False)
    assert not process.running
    await until(lambda: process.running)
    assert (process.changes, len(stops)) == (["stop", "go on"], 1)


async def test_a_request_before_it_was_idle_long_enough_keeps_it_stopped() -> None:
    process = Process()
    made, stops = preemption(process, idle_s=3600)
    for _ in range(5):
        made.busy(True)
        made.busy(False)
        await asyncio.sleep(0)
    assert (process.running, len(stops)) == (False, 1)
    made.detach()


async def test_a_process_that_begins_while_requests_are_at_work_waits() -> None:
    process = Process()
    made, stops = preemption(process)
    made.detach()
    made.busy(True)
    made.attach(process)
    assert (process.running, len(stops)) == (False, 1)
    made.busy(False)
    await until(lambda: process.running)


async def test_without_rest_it_gets_turns_and_with_no_share_none() -> None:
    fair, starved = Process(), Process()
    sharing, _ = preemption(fair, min_share=0.9)
    keeping, _ = preemption(starved, min_share=0.0)
    for made in (sharing, keeping):
        made.busy(True)
    await until(lambda: fair.changes.count("stop") == 3)
    assert fair.changes[:5] == ["stop", "go on", "stop", "go on", "stop"]
    assert starved.changes == ["stop"]
    sharing.detach()


async def test_a_process_that_ended_gets_no_more_turns() -> None:
    process = Process()
    made, _ = preemption(process, min_share=0.9)
    made.busy(True)
    made.detach()
    made.busy(False)
    made.busy(True)
    assert process.changes == ["stop"]
