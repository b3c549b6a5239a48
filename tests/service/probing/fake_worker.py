"""A probe worker without models: it speaks the protocol of service/probing/job.py, and a folder steers it.

`python -m tests.service.probing.fake_worker FOLDER`. FOLDER has `units.json` and `results.json` to say; it keeps one
file for each process and for each unit that one did. `gate` lets it go on past its third unit. It loads next to
nothing, since tests start it often.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from service.probing.job import Finished, Message, Planned, Refused, UnitDone, decode_job, encode

GATE_AT = 3


def main(folder: Path) -> int:
    job = decode_job(sys.stdin.buffer.readline())
    done = {json.loads(line)["key"]: json.loads(line) for line in sys.stdin.buffer.readlines()}
    (folder / f"pid-{os.getpid()}").touch()
    units = json.loads((folder / "units.json").read_text())
    known = {unit["key"]: unit for unit in units}
    if len(done) != job.units_done or any(known[key] != unit for key, unit in done.items()):
        return 3  # it was told of other units than were done
    if (folder / "refuse").exists():
        _say(Refused("CONFIG", "the policy is gone; put it back"))
        return 2
    model = (folder / "model").read_text() if (folder / "model").exists() else "m1"
    _say(Planned({"suite": "s1", "reward_model": model}, len(units)))
    for number, unit in enumerate(units):
        if (folder / "die").exists():
            os.abort()
        if unit["key"] not in done:
            (folder / f"unit-{number}-{os.getpid()}").touch()
            _say(UnitDone(unit))
        while number + 1 >= GATE_AT and not (folder / "gate").exists():
            time.sleep(0.01)
    _say(Finished(json.loads((folder / "results.json").read_text())))
    return 0


def _say(message: Message) -> None:
    sys.stdout.buffer.write(encode(message))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
