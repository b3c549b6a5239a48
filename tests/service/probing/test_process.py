"""The process of the probes, seen from the service."""

from __future__ import annotations

import asyncio
import os
import sys

import psutil
import pytest

from service.probing.job import Job, Planned
from service.probing.process import WorkerDied, probe_process
from tests.waiting import until

JOB = Job("{}", "tiny", 7, "", None, 0, os.getpid())
SAYS_AND_SLEEPS = """
import sys, time
sys.stdin.buffer.read()
print('{"says": "Planned", "digests": {}, "units": 1}', flush=True)
sys.stdout.write("x" * 100_000); sys.stdout.flush()
time.sleep(600)
"""


def program(text: str) -> tuple[str, ...]:
    return (sys.executable, "-c", text)


async def test_it_is_gone_with_its_pipes_however_often_ending_it_is_cancelled() -> None:
    pids = []
    listening = asyncio.Event()

    async def use() -> None:
        async with probe_process(program(SAYS_AND_SLEEPS)) as process:
            pids.append(process.pid)
            await process.tell(JOB, [])
            async for message in process.messages(60):
                assert message == Planned({}, 1)
                break
            listening.set()

    using = asyncio.create_task(use())
    await listening.wait()
    for _ in range(3):
        await asyncio.sleep(0)  # into the end
        using.cancel()
    await asyncio.wait({using})
    assert not psutil.pid_exists(pids[0])


async def test_a_stopped_process_can_be_ended() -> None:
    async with probe_process(program(SAYS_AND_SLEEPS)) as process:
        child = psutil.Process(process.pid)
        process.stop()
        await until(lambda: child.status() == psutil.STATUS_STOPPED)
        assert process.stopped
    assert not child.is_running()


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("import os; os.kill(os.getpid(), 9)", "signal 9"),
        ("raise SystemExit(3)", "exit code 3"),
        ("print('hello'); import time; time.sleep(600)", "no message"),
        ("import time; time.sleep(600)", "no word"),
    ],
)
async def test_how_it_died_is_told(text: str, how: str) -> None:
    async with probe_process(program(text)) as process:
        with pytest.raises(WorkerDied) as died:
            async for _ in process.messages(2.0 if how == "no word" else 120.0):
                pass
    assert how in died.value.how


async def test_time_stands_still_while_it_is_stopped() -> None:
    async with probe_process(program("import time; time.sleep(600)")) as process:
        process.stop()
        before = process.running_s
        await asyncio.sleep(0.01)
        assert process.running_s == before
        process.go_on()
        await until(lambda: process.running_s > before)
