"""A real PostgreSQL on loopback, for as long as the tests need one."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

USER = "wardgate"
_START_TIMEOUT_S = 60.0
_ROOM_BYTES = 1 << 30


@dataclass(frozen=True)
class PostgresServer:
    port: int
    password: str
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/postgres"

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self.url, password=self.password, autocommit=True)

    def empty(self) -> None:
        """Drops every table: faster than a database for each test. Connections that a test left behind are ended."""
        with self.connect() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'wardgate'"
            )
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")


def binaries() -> Path | None:
    """The newest installed server's programs. Debian keeps them off the PATH."""
    found = shutil.which("postgres")
    if found:
        return Path(found).resolve().parent
    versions = [folder for folder in Path("/usr/lib/postgresql").glob("*/bin") if (folder / "postgres").exists()]
    return max(versions, key=lambda folder: int(folder.parent.name), default=None)


@contextlib.contextmanager
def running_postgres(programs: Path) -> Iterator[PostgresServer]:
    # Not pytest's folder, which only root may enter; in memory, where there is room.
    folder = Path(tempfile.mkdtemp(prefix="wardgate-postgres-", dir=_memory()))
    try:
        as_user = _unprivileged(folder)
        password, data = secrets.token_hex(16), folder / "data"
        (folder / "password").write_text(password)
        _initialize(programs, data, folder / "password", as_user)
        port = _free_port()
        process = _start(programs, data, port, folder / "server.log", as_user)
        server = PostgresServer(port, password, process)
        try:
            _wait_until_ready(server, folder / "server.log")
            yield server
        finally:
            process.send_signal(signal.SIGQUIT)  # at once: nothing in it is needed any more
            process.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _memory() -> Path | None:
    memory = Path("/dev/shm")
    return memory if memory.exists() and shutil.disk_usage(memory).free > _ROOM_BYTES else None


def _unprivileged(folder: Path) -> dict[str, Any]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _initialize(programs: Path, data: Path, password_file: Path, as_user: dict[str, Any]) -> None:
    password_file.chmod(0o644)  # of a server that lives for a test, in a folder that others cannot enter
    options = ["--username", USER, "--pwfile", str(password_file), "--auth", "scram-sha-256", "--no-sync"]
    # Text sorts as English does, not by code points: the store must not rely on the server for its order.
    locale = ["--encoding", "UTF8", "--locale", "C.UTF-8", "--locale-provider", "icu", "--icu-locale", "en"]
    subprocess.run(
        [programs / "initdb", "-D", data, *options, *locale], check=True, capture_output=True, cwd="/", **as_user
    )


def _start(programs: Path, data: Path, port: int, log: Path, as_user: dict[str, Any]) -> subprocess.Popen[bytes]:
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",
        "fsync": "off",  # what a power cut does is not tested
        "autovacuum": "off",
        "max_connections": "100",
        "shared_buffers": "32MB",
        "deadlock_timeout": "100ms",
    }
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    with log.open("wb") as output:
        return subprocess.Popen(
            [programs / "postgres", "-D", data, *options], stdout=output, stderr=output, cwd="/", **as_user
        )


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _wait_until_ready(server: PostgresServer, log: Path) -> None:
    give_up = time.monotonic() + _START_TIMEOUT_S
    while True:
        try:
            server.connect().close()
            return
        except psycopg.OperationalError:
            if server.process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"PostgreSQL did not start: {log.read_text()[-2000:]}") from None
            time.sleep(0.05)
