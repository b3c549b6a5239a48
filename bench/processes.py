"""Processes under measurement: started, waited for, watched and ended."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

_START_S = 120.0
_STOP_S = 30.0
_POLL_S = 0.01


@dataclass(frozen=True, slots=True)
class Memory:
    """MiB; `uss` is what would be freed if the process ended."""

    rss: float
    uss: float


@dataclass(frozen=True, slots=True)
class ServerProcess:
    process: subprocess.Popen[bytes]
    address: str
    started: float  # time.monotonic() just before the process was made

    @property
    def pid(self) -> int:
        return self.process.pid

    def memory(self) -> Memory:
        figures = psutil.Process(self.pid).memory_full_info()
        return Memory(figures.rss / 2**20, figures.uss / 2**20)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment() -> dict[str, str]:
    """This one, with the checkout importable from any directory."""
    root = Path(__file__).resolve().parent.parent
    paths = [str(root), str(root / "proto"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


@contextlib.contextmanager
def server(arguments: Sequence[str], port: int, log: Path) -> Iterator[ServerProcess]:
    """`python ARGUMENTS`, once its port accepts connections; what it prints goes to `log`."""
    with log.open("wb") as output:
        started = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, *arguments], stdout=output, stderr=subprocess.STDOUT, env=environment()
        )
        try:
            _wait_for(port, process, log)
            yield ServerProcess(process, f"127.0.0.1:{port}", started)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}:\n{log.read_text()[-2000:]}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(_POLL_S)
    raise RuntimeError(f"no server on port {port} after {_START_S} s:\n{log.read_text()[-2000:]}")
