"""What is kept is in the database alone."""

from __future__ import annotations

import os
import subprocess
import sys

from service.config import StoreSettings

WRITING = """
import asyncio, sys
from datetime import UTC, datetime
from guards.errors import WardgateError
from service.config import LogSettings, StoreSettings
from service.logs import set_up_logging
from service.store.probe_records import ProbeUnit, RunError, RunState, Trigger, new_run
from service.store.store import Store

async def main():
    set_up_logging(LogSettings(level="debug"))
    store = await Store.open(StoreSettings.model_validate_json(sys.argv[1]))
    run = new_run("canary-suite", seed=1, trigger=Trigger.CLI, digests={"model": "canary-digest"})
    await store.probe_runs.create(run)
    try:
        await store.probe_runs.create(run)
    except WardgateError as error:
        print("refused:", error)
    unit = ProbeUnit("canary-key", datetime.now(UTC), 1.0, ({"text": "canary-trial"},))
    await store.probe_runs.record_units(run.id, [unit])
    failed = await store.probe_runs.transition(
        run.id, [RunState.PENDING], RunState.FAILED, error=RunError("fault", "canary-message")
    )
    print("kept:", await store.probe_runs.count_units(run.id), failed.state)
    await store.close()

asyncio.run(main())
"""


def test_no_value_is_in_a_log_or_an_error_at_any_level(settings: StoreSettings) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", WRITING, settings.model_dump_json()]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert "refused: the store refuses this" in run.stdout
    assert "kept: 1 FAILED" in run.stdout
    assert "store migrated" in run.stderr
    assert "canary" not in run.stdout + run.stderr
