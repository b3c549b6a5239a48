"""The process of the probes, seen from the service: started, stopped and continued by signals, listened to, ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from service.preemption import RunningClock
from service.probing.job import Job, Message, decode, encode_job

WORKER = (sys.executable, "-m", "service.probing.worker")

_LINES_AT_ONCE = 50
_AT_ONCE = 1 << 20  # bytes
_LONGEST_LINE = 64 << 20  # bytes; a unit has a few kilobytes
# Read by libraries as they load. RAYON: the tokenizers.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"), "1")


class WorkerDied(Exception):
    """It ended before it had finished, or said what is no message. `how`, for the log and for the run's error."""

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how


class ProbeProcess:
    """`running_s`: how long it was not stopped."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._clock = RunningClock()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def stopped(self) -> bool:
        return self._clock.stopped

    @property
    def running_s(self) -> float:
        return self._clock.running_s

    def stop(self) -> None:
        """It keeps its memory and gets no CPU."""
        if not self._clock.stopped:
            self._signal(signal.SIGSTOP)
            self._clock.stop()

    def go_on(self) -> None:
        if self._clock.stopped:
            self._signal(signal.SIGCONT)
            self._clock.go_on()

    async def messages(self, limit_s: float) -> AsyncGenerator[Message, None]:
        """Until it ends well. `limit_s`: how long it may run without a word. Raises WorkerDied."""
        while line := await self._line(limit_s):
            try:
                message = decode(line)
            except ValueError:
                raise WorkerDied("it said what is no message") from None
            yield message
        code = await self._process.wait()
        if code:
            raise WorkerDied(f"signal {-code}" if code < 0 else f"exit code {code}")

    async def _line(self, limit_s: float) -> bytes:
        assert self._process.stdout is not None
        reading = asyncio.ensure_future(self._process.stdout.readline())
        until = self.running_s + limit_s
        try:
            while not reading.done():
                left_s = until - self.running_s
                if left_s <= 0:
                    raise WorkerDied(f"no word for {limit_s:g} s")
                await asyncio.wait({reading}, timeout=left_s)
            return reading.result()
        except ValueError:
            raise WorkerDied("it said what is no message") from None
        finally:
            reading.cancel()
            await asyncio.wait({reading})

    async def tell(self, job: Job, units: Sequence[Mapping[str, Any]]) -> None:
        """What to do, and what is done already; it hears nothing else."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # its end is noticed where it is listened to
            for number, line in enumerate(encode_job(job, units)):
                self._process.stdin.write(line)
                if number % _LINES_AT_ONCE == 0:
                    await self._process.stdin.drain()
                    await asyncio.sleep(0)  # live requests have the same loop
        self._process.stdin.close()

    async def end(self) -> None:
        """At once: what it has finished is kept already. Who is cancelled meanwhile leaves no process behind either."""
        if self._process.returncode is None:
            self._signal(signal.SIGKILL)
        gone, cancelled = asyncio.create_task(self._gone()), None
        while not gone.done():
            try:
                await asyncio.shield(gone)
            except asyncio.CancelledError as error:  # more than once, perhaps: the run is left, and the service stops
                cancelled = error
        if cancelled:
            raise cancelled

    async def _gone(self) -> None:
        """Waited for, and its pipe read to the end, which closes that."""
        assert self._process.stdout is not None
        await self._process.wait()
        while await self._process.stdout.read(_AT_ONCE):
            pass

    def _signal(self, number: int) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)


@asynccontextmanager
async def probe_process(command: Sequence[str]) -> AsyncIterator[ProbeProcess]:
    """It shares the service's standard error, for its log events. Ended at the end, whatever happens."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_LONGEST_LINE,
        env={**os.environ, **_ONE_THREAD, "TOKENIZERS_PARALLELISM": "false"},
    )
    worker = ProbeProcess(process)
    try:
        yield worker
    finally:
        await worker.end()
