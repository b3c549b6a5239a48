"""A probe worker without models: it speaks the protocol of service/probing/job.py, and does as its suite's name says.

`python -m tests.service.probing.fake_worker FOLDER`; FOLDER keeps what it did, one file a unit and process, and
`gate` in it lets it go on past its first unit.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from guards.probes.base import Measured, ProbeKind, Setting, Trial
from guards.probes.records import UnitOutcome, from_json, to_json
from service.probing.job import Finished, Planned, Refused, UnitDone, decode_job, encode
from service.probing.results import results_to_json

UNITS = 6


def main(folder: Path) -> None:
    job = decode_job(sys.stdin.buffer.readline())
    earlier = [from_json(__import__("json").loads(line)) for line in sys.stdin.buffer.readlines()]
    out = sys.stdout.buffer
    (folder / f"pid-{os.getpid()}").touch()

    def say(message: object) -> None:
        out.write(encode(message))  # type: ignore[arg-type]
        out.flush()

    if (folder / "refuse").exists():
        say(Refused("CONFIG", "the policy is gone; put it back"))
        return
    model = (folder / "model").read_text() if (folder / "model").exists() else "m1"
    say(Planned({"suite": "s1", "reward_model": model}, UNITS))
    outcomes = list(earlier)
    for number in range(UNITS):
        key = f"tiny/{number}"
        if key in {outcome.key for outcome in earlier}:
            continue
        if (folder / "die").exists():
            os.abort()
        outcome = UnitOutcome(key, 0.25, (_measured(ProbeKind.ATTACK, number), _measured(ProbeKind.BENIGN, number)))
        (folder / f"unit-{number}-{os.getpid()}").touch()
        outcomes.append(outcome)
        say(UnitDone(to_json(outcome)))
        while len(outcomes) >= 3 and not (folder / "gate").exists():
            time.sleep(0.01)
    say(Finished(results_to_json(outcomes, {"other": "needs model, which this server has not"})))
    assert job.units_done == len(earlier)


def _measured(kind: ProbeKind, number: int) -> Measured:
    setting = Setting("tiny", "guard", "encoding", kind, {"transformation": "base64", "severity": 0.5})
    hit = number == 0 or kind is ProbeKind.ATTACK
    return Measured(setting, (Trial(f"{number}", success=hit, clean=True, adversarial=not hit), Trial("x", skipped="no")))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
