"""A process that is killed while it writes leaves whole units or none."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from service.config import StoreSettings
from service.store.probe_records import ProbeUnit, RunState
from service.store.store import Store
from tests.service.store.test_probe_runs import a_run, kept

TRIALS = 40
TOTAL = 400

WRITING = """
import asyncio, sys
from datetime import UTC, datetime
from service.config import StoreSettings
from service.store.probe_records import ProbeUnit
from service.store.store import Store

async def main(settings, run_id, total, trials):
    store = await Store.open(StoreSettings.model_validate_json(settings))

    async def unit(n):
        made = ProbeUnit(f"{n:05}", datetime.now(UTC), 0.5, tuple({"n": n, "trial": t} for t in range(trials)))
        new = await store.probe_runs.record_units(run_id, [made])
        print(made.key if new else "again", flush=True)

    for start in range(0, total, 8):
        await asyncio.gather(*(unit(n) for n in range(start, start + 8)))

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
"""


def write_until_killed(settings: StoreSettings, run_id: str, acknowledged_before: int) -> set[str]:
    """Keys of the units that the killed process was told are kept."""
    command = [sys.executable, "-c", WRITING, settings.model_dump_json(), run_id, str(TOTAL), str(TRIALS)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as child:
        assert child.stdout
        acknowledged = {child.stdout.readline().strip() for _ in range(acknowledged_before)}
        child.kill()
        return acknowledged | {line.strip() for line in child.stdout if line.endswith("\n")}


@pytest.mark.parametrize("acknowledged_before_kill", [1, 45])
async def test_a_killed_run_resumes_where_it_was_and_counts_each_unit_once(
    settings: StoreSettings, acknowledged_before_kill: int
) -> None:
    store = await Store.open(settings)
    run = await kept(store, a_run())
    await store.probe_runs.transition(run.id, [RunState.PENDING], RunState.RUNNING, holder="killed")
    await store.close()

    acknowledged = await asyncio.to_thread(write_until_killed, settings, run.id, acknowledged_before_kill)
    again = await Store.open(settings)
    runs = again.probe_runs
    done = await runs.unit_keys(run.id)
    assert acknowledged <= done
    assert len(done) < TOTAL
    kept_units = [unit async for unit in runs.units(run.id)]
    for unit in kept_units:
        assert unit.trials == tuple({"n": int(unit.key), "trial": trial} for trial in range(TRIALS))
    # Resuming: another holder takes the run, and reports everything, as one that did not ask what is done would.
    taken = await runs.transition(run.id, [RunState.RUNNING], RunState.RUNNING, holder="next", held_by="killed")
    assert taken
    rest = [ProbeUnit(f"{n:05}", datetime.now(UTC), 0.5, ({"n": n},)) for n in range(TOTAL)]
    new = await runs.record_units(run.id, rest)
    assert new == {unit.key for unit in rest} - done
    assert await runs.count_units(run.id) == TOTAL
    assert [unit async for unit in runs.units(run.id) if unit.key in done] == kept_units
    assert await runs.finish(run.id, {}, held_by="killed") is None
    assert await runs.finish(run.id, {}, held_by="next")
    await again.close()
