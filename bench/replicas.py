"""Replicas of the service on addresses that they keep, to stop, kill and start again under load."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench.processes import environment, free_port
from wardgate import Client

_START_S = 120.0
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Ended:
    """`seconds` from the signal to the end of the process."""

    code: int
    seconds: float


class Replica:
    """One server, with settings, a store and a log of its own in `folder`.

    `settings` stand beside the address, the store and the end of a wrapped model, which may be in them too.
    """

    def __init__(
        self, folder: Path, settings: Mapping[str, Any] | None = None, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port, self.http_port = port or free_port(), free_port()
        self.address = f"{host}:{self.port}"
        self._log = folder / "server.log"
        self._config = folder / "wardgate.yaml"
        given = dict(settings or {})
        sections: dict[str, Any] = {
            "backend": {"kind": "none"},
            "store": {"url": f"sqlite:///{folder}/store.db"},
            **given,
            "grpc": {**given.get("grpc", {}), "host": host, "port": self.port},
            "http": {"port": self.http_port},
        }
        self._config.write_text(yaml.safe_dump(sections))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the replica was not started")
        return self._process

    @property
    def log(self) -> str:
        """Everything that every start of it has logged."""
        return self._log.read_text()

    def start(self) -> float:
        """Returns once it is healthy, and gives the seconds that took."""
        started = time.monotonic()
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "service", "serve", "--config", str(self._config)],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment(),
            )
        until = started + _START_S
        while time.monotonic() < until:
            if self._process.poll() is not None:
                raise RuntimeError(f"the replica ended with {self._process.returncode}:\n{self.log[-2000:]}")
            # A channel of its own for each try: one that was refused would wait longer and longer to try again.
            with Client(self.address) as client:
                if client.healthy(timeout=1.0):
                    return time.monotonic() - started
            time.sleep(_POLL_S)
        raise RuntimeError(f"no health on {self.address} after {_START_S} s:\n{self.log[-2000:]}")

    def tell(self, what: signal.Signals) -> None:
        os.kill(self.process.pid, what)

    def stop(self, within_s: float = 60.0) -> Ended:
        """By SIGTERM. Raises TimeoutExpired."""
        started = time.monotonic()
        self.tell(signal.SIGTERM)
        return self.ended(started, within_s)

    def kill(self) -> Ended:
        """By SIGKILL: nothing is finished, nobody is told."""
        started = time.monotonic()
        self.tell(signal.SIGKILL)
        return self.ended(started, 10.0)

    def ended(self, since: float, within_s: float) -> Ended:
        code = self.process.wait(within_s)
        return Ended(code, time.monotonic() - since)

    def close(self) -> None:
        """Whatever it does, it has ended afterwards."""
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def replicas(folder: Path, settings: Sequence[Mapping[str, Any]]) -> Iterator[list[Replica]]:
    """One for each of `settings`, started."""
    made = [Replica(folder / f"replica-{number}", given) for number, given in enumerate(settings)]
    try:
        for replica in made:
            replica.start()
        yield made
    finally:
        for replica in made:
            replica.close()
