"""The process of the probes: `python -m service.probing.worker`, started by the service, never by hand.

It does one run, on one thread, at the lowest priority there is. Its models, its memory and its crashes are its own;
it ends with the service. See docs/adr/010-probe-process.md.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import BinaryIO

from guards.errors import WardgateError
from guards.probes.harness import Plan, plan, run
from guards.probes.records import UnitOutcome, from_json, to_json
from guards.probes.suite import named_suite
from service.config import settings_from_json
from service.logs import fault_fields, set_up_logging
from service.parent_death import die_with_the_parent
from service.probing.job import Finished, Job, Message, Planned, Refused, UnitDone, decode_job, encode
from service.probing.results import results_to_json

log = logging.getLogger(__name__)

_LAST_NICE = 19


def main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C goes to all; the service ends this one
    die_with_the_parent()
    _go_last()
    out = _take_stdout()
    job = decode_job(sys.stdin.buffer.readline())
    if os.getppid() != job.parent:
        return 1  # it was gone before it could be bound to
    earlier = [from_json(json.loads(line)) for line in sys.stdin.buffer.readlines()]
    if len(earlier) != job.units_done:
        return 1
    try:
        _do(job, earlier, out)
    except WardgateError as error:
        _say(out, Refused(error.reason, str(error)))
        return 2
    except BrokenPipeError:
        return 1  # the service is gone
    except Exception as error:
        log.error("probe worker failed", extra=fault_fields(error))
        return 1
    return 0


def _do(job: Job, earlier: list[UnitOutcome], out: BinaryIO) -> None:
    from service.probing.targets import ProbedService  # heavy: the models

    settings = settings_from_json(job.settings)
    set_up_logging(settings.log)
    logging.getLogger("wardgate.decisions").setLevel(logging.WARNING)  # nobody asked for these
    suite = named_suite(settings.probing.suites, job.suite)
    service = ProbedService(settings, job.policy)
    try:
        targets = service.targets()
        planned = plan(suite, targets, job.seed)
        _say(out, Planned({"suite": suite.digest, **targets.digests}, len(planned.units)))
        outcomes = list(earlier)

        def done(outcome: UnitOutcome) -> None:
            outcomes.append(_sayable(outcome))
            _say(out, UnitDone(to_json(outcomes[-1])))

        # CPU time: it stands still while the process makes way for live requests.
        run(planned, targets, done, {unit.key for unit in earlier}, job.budget_s, time.process_time)
        _say(out, Finished(results_to_json(outcomes, _skipped(planned, outcomes))))
    finally:
        service.close()


def _sayable(outcome: UnitOutcome) -> UnitOutcome:
    """As it is, unless it measured what is no number: then it failed, and not the whole run."""
    try:
        encode(UnitDone(to_json(outcome)))
    except ValueError:
        return UnitOutcome(outcome.key, outcome.seconds, error="NotANumber")
    return outcome


def _skipped(planned: Plan, outcomes: list[UnitOutcome]) -> dict[str, str]:
    skipped = dict(planned.skipped)
    if left := len(planned.units) - len(outcomes):
        skipped["budget"] = f"the budget left no time for {left} of {len(planned.units)} units"
    return skipped


def _say(out: BinaryIO, message: Message) -> None:
    out.write(encode(message))
    out.flush()


def _take_stdout() -> BinaryIO:
    """The pipe to the service; what any library prints goes to the log instead."""
    pipe = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return os.fdopen(pipe, "wb")


def _go_last() -> None:
    """Behind everything else on the CPUs, and first in line when memory runs out."""
    os.nice(_LAST_NICE)
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # a sandbox may forbid it
            Path("/proc/self/oom_score_adj").write_text("1000")


if __name__ == "__main__":
    sys.exit(main())
