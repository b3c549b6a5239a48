"""The child process seen from the parent: started, asked, stopped and continued, ended.

It blocks, and belongs to one thread; only `stop`, `go_on` and `end` may be called from any.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from importlib.util import find_spec
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from guards.errors import InvalidInput, PreconditionFailed, ScoringError, Unavailable, UnknownName
from service.explaining.child import main
from service.explaining.work import Answer, ChildSettings, Failed, Ready, Result, Work
from service.preemption import RunningClock

log = logging.getLogger(__name__)

_START_S = 600.0  # some seconds of a core; on a busy machine the child comes last
_END_S = 5.0
_RETRY_S = 2.0
_LONGEST_WAIT_S = 1.0  # at a time, since a process that is stopped meanwhile has longer


class ExplainingProcess:
    """One child at a time; whoever asks starts it."""

    def __init__(self, settings: ChildSettings) -> None:
        self._settings = settings
        self._process: SpawnProcess | None = None
        self._pipe: Connection | None = None
        self._signals = threading.Lock()  # no signal goes to a process that is waited for: its number may be another's
        self._clock = RunningClock()
        self._ended = False

    def start(self) -> None:
        """Returns when a child is ready, a living one at once. Raises Unavailable, PreconditionFailed without torch."""
        with self._signals:
            if self._process is not None and self._process.is_alive():
                return
        self.close()
        if find_spec("torch") is None:
            raise PreconditionFailed("explanations need torch; install wardgate[local]", kind="TORCH", subject="torch")
        context = multiprocessing.get_context("spawn")  # a fork would share gRPC's threads and locks
        ours, theirs = context.Pipe()
        process = context.Process(target=main, args=(theirs, self._settings), name="explaining", daemon=True)
        process.start()
        theirs.close()  # so that the child's end is the pipe's
        self._process, self._pipe = process, ours
        if self._ended:  # while it started
            process.kill()
        if not isinstance(self._receive(ours, _START_S), Ready):
            self.close()
            raise Unavailable("the explaining process did not start; see the server's log", _RETRY_S)
        log.info("explaining process ready", extra={"pid": process.pid})

    def ask(self, work: Work, limit_s: float) -> Result:
        """Starts a child if there is none. One that ends, or is silent for `limit_s` while it may work, is killed: then
        Unavailable."""
        self.start()
        pipe = self._pipe
        assert pipe is not None
        try:
            pipe.send(work)
        except OSError:
            answer = None
        else:
            answer = self._receive(pipe, limit_s)
        if answer is None:
            self.close()
            log.error("explaining process lost")
            raise Unavailable("the explaining process ended or hung; the next explanation starts another", _RETRY_S)
        return _result(answer)

    def stop(self) -> None:
        """It keeps its memory and gets no CPU."""
        with self._signals:
            if self._process is not None and not self._clock.stopped:
                self._signal(signal.SIGSTOP)
                self._clock.stop()

    def go_on(self) -> None:
        with self._signals:
            if self._process is not None and self._clock.stopped:
                self._signal(signal.SIGCONT)
                self._clock.go_on()

    def end(self) -> None:
        """Kills the child for good, from any thread: what is being asked raises Unavailable."""
        self._ended = True
        process = self._process
        if process is not None:
            process.kill()

    def close(self) -> None:
        """Kills the child and returns when it is gone."""
        with self._signals:
            process, pipe, self._process, self._pipe = self._process, self._pipe, None, None
            self._clock = RunningClock()
        if process is not None:
            process.kill()
            process.join(_END_S)
            if process.exitcode is not None:
                process.close()
        if pipe is not None:
            pipe.close()

    def _receive(self, pipe: Connection, limit_s: float) -> Answer | None:
        """None when nothing came while the child was not stopped, or it has ended."""
        until = self._running_s() + limit_s
        try:
            while (left_s := until - self._running_s()) > 0:
                if pipe.poll(min(left_s, _LONGEST_WAIT_S)):
                    answer: Answer = pipe.recv()
                    return answer
        except (EOFError, OSError):
            pass
        return None

    def _running_s(self) -> float:
        with self._signals:
            return self._clock.running_s

    def _signal(self, number: signal.Signals) -> None:
        """Not to one that has ended, which is noticed where it is asked."""
        if self._process is not None and self._process.pid is not None and self._process.exitcode is None:
            os.kill(self._process.pid, number)


def _result(answer: Answer) -> Result:
    match answer:
        case Failed(kind="invalid"):
            raise InvalidInput(answer.message, answer.violations)
        case Failed(kind="unknown"):
            raise UnknownName(*answer.name, answer.known)
        case Failed(kind="model"):
            raise PreconditionFailed(answer.message, kind="REWARD_MODEL", subject="explain")
        case Failed():
            log.error("explanation failed", extra=dict(answer.log))
            raise ScoringError(f"the explanation failed: {answer.message}")
        case Ready():
            raise AssertionError("said once, at the start")
        case _:
            return answer
