"""`wardgate store`: what is kept where, and migrations by hand. Heavy imports stay inside."""

from __future__ import annotations

import asyncio
import json
from argparse import Namespace
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from service.config import StoreSettings, load_settings

if TYPE_CHECKING:
    from service.store.schema import Revisions


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """`revision` is empty, and `runs` too, for a database without tables."""

    place: str
    revision: str
    newest_revision: str
    state: str  # up to date | to migrate | empty | newer than this program
    runs: dict[str, int]  # state of a run -> how many


def migrate(options: Namespace) -> int:
    from service.store import schema

    before = schema.migrate(load_settings(options.config).store)
    done = "was up to date" if before.current == before.newest else f"migrated from {before.current or 'nothing'}"
    print(f"{before.place}: revision {before.newest}, {done}")
    return 0


def status(options: Namespace) -> int:
    """3 when the database is not at this program's revision, so that scripts can tell."""
    found = asyncio.run(_status(load_settings(options.config).store))
    if options.json:
        print(json.dumps(asdict(found)))
    else:
        print(f"{found.place}: {found.state}, revision {found.revision or 'none'} of {found.newest_revision}")
        for state, count in found.runs.items():
            print(f"  {state.lower():10} {count}")
    return 0 if found.state == "up to date" else 3


async def _status(settings: StoreSettings) -> StoreStatus:
    from service.store import schema
    from service.store.store import Store

    revisions = await asyncio.to_thread(schema.revisions, settings)
    state = _state(revisions)
    runs = {}
    if state == "up to date":
        store = await Store.open(settings)
        try:
            runs = {str(name): count for name, count in (await store.probe_runs.count_by_state()).items()}
        finally:
            await store.close()
    return StoreStatus(revisions.place, revisions.current, revisions.newest, state, runs)


def _state(revisions: Revisions) -> str:
    if revisions.current == revisions.newest:
        return "up to date"
    if not revisions.current:
        return "empty"
    return "to migrate" if revisions.known else "newer than this program"
