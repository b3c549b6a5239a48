"""The units of a run in a file, line by line as they are done, so that a run that was stopped goes on.

JSON Lines: the first says what runs, every other is a unit's outcome (guards/probes/records.py). A line that was cut
short when the process was killed is left out, and its unit is done again; a unit counts once, whatever the file holds.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from guards.errors import ConfigError
from guards.probes.harness import Plan
from guards.probes.records import UnitOutcome, from_json, to_json

FORMAT = "wardgate.probe-units/1"


class KeptUnits:
    """`earlier`: what the file held when it was opened. Use as a context; `keep` returns once a unit is on the disk."""

    def __init__(self, path: Path, plan: Plan, digests: Mapping[str, str]) -> None:
        """Raises ConfigError when the file is of another run, or cannot be used."""
        self._path = path
        header = {
            "format": FORMAT,
            "suite": plan.suite.name,
            "suite_digest": plan.suite.digest,
            "seed": plan.seed,
            "digests": dict(digests),
        }
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            raw = path.read_bytes() if path.exists() else b""
            whole = raw[: raw.rfind(b"\n") + 1]
            self.earlier = _read(path, whole, header) if whole else ()
            self._file = path.open("r+b" if path.exists() else "w+b")
            self._file.truncate(len(whole))
            self._file.seek(len(whole))
            if not whole:
                self._write(header)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be kept: {error.strerror}") from error

    def keep(self, outcome: UnitOutcome) -> None:
        self._write(to_json(outcome))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _write(self, record: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(record, ensure_ascii=True).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def _read(path: Path, whole: bytes, header: Mapping[str, Any]) -> tuple[UnitOutcome, ...]:
    lines = whole.splitlines()
    try:
        found = json.loads(lines[0])
        units = [from_json(json.loads(line)) for line in lines[1:]]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} holds no units of probes; name another file, or delete it") from error
    if found != header:
        same = found if isinstance(found, dict) else {}
        changed = ", ".join(sorted(name for name in header if same.get(name) != header[name]))
        raise ConfigError(f"{path} is of another run ({changed} differ); name another file, or delete it")
    return tuple({unit.key: unit for unit in units}.values())
