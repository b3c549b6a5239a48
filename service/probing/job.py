"""What the service and the process of its probes say to each other, one JSON object a line.

To the process: a Job, then a line for every unit that is done already. From it: Planned, a UnitDone for every further
unit, and Finished; or Refused, and nothing after it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Job:
    """`settings` as service.config.settings_to_json gives them. `budget_s`: CPU time that is left to the run."""

    settings: str
    suite: str
    seed: int
    policy: str
    budget_s: float | None
    units_done: int  # lines that follow
    parent: int  # process that the job is for, and that it ends with


@dataclass(frozen=True, slots=True)
class Planned:
    """`digests` of all that decides the results: when one is another, the units that are done say nothing any more."""

    digests: Mapping[str, str]
    units: int


@dataclass(frozen=True, slots=True)
class UnitDone:
    """`unit` as guards.probes.records writes it."""

    unit: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Finished:
    """`results` of all units, those of earlier processes too: rows, what was skipped, the CPU time they took."""

    results: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Refused:
    """The job cannot be done, and no other try would help. `kind` is an error's reason."""

    kind: str
    message: str


Message = Planned | UnitDone | Finished | Refused

_KINDS: Mapping[str, type[Message]] = {kind.__name__: kind for kind in (Planned, UnitDone, Finished, Refused)}


def encode(message: Message) -> bytes:
    fields = {name: getattr(message, name) for name in type(message).__dataclass_fields__}
    return _line({"says": type(message).__name__, **fields})


def decode(line: bytes) -> Message:
    """Raises ValueError for what `encode` did not write."""
    fields = json.loads(line)
    if not isinstance(fields, dict) or fields.get("says") not in _KINDS:
        raise ValueError("no message of a probe worker")
    kind = _KINDS[fields.pop("says")]
    try:
        return kind(**fields)
    except TypeError as error:
        raise ValueError("no message of a probe worker") from error


def encode_job(job: Job, units: Sequence[Mapping[str, Any]]) -> Iterator[bytes]:
    """Its lines."""
    yield _line(asdict(job))
    yield from map(_line, units)


def decode_job(line: bytes) -> Job:
    return Job(**json.loads(line))


def _line(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode() + b"\n"
