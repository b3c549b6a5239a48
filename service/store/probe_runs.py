"""Runs of robustness probes, kept so that a killed run goes on where it was."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol, TypedDict, Unpack, cast

from sqlalchemy import ColumnElement, Insert, RowMapping, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from guards.errors import FieldViolation, InvalidInput, UnknownName
from service.store.engine import Database
from service.store.ids import is_id
from service.store.probe_records import (
    FINAL_STATES,
    Json,
    ProbeRun,
    ProbeRunPage,
    ProbeUnit,
    RunError,
    RunState,
    Trigger,
)
from service.store.tables import ProbeRunRow, ProbeUnitRow
from service.store.writer import Writer

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 200
_UNITS_AT_ONCE = 500  # rows of one read while units are streamed
_MAX_KEY_CHARS = 512
_MAX_ERROR_CHARS = 500

_RUN = ProbeRunRow.__table__
_UNIT = ProbeUnitRow.__table__


class RunChange(TypedDict, total=False):
    """What a transition may set beside the state."""

    holder: str
    started_at: datetime
    finished_at: datetime
    digests: Mapping[str, str]
    units_total: int
    error: RunError | None
    results: Mapping[str, Json]


class ProbeRuns:
    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer

    async def create(self, run: ProbeRun) -> None:
        """Raises InvalidInput where a run of its id exists."""
        row = _run_row(run)
        await self._writer.write(lambda connection: connection.execute(insert(ProbeRunRow).values(row)))

    async def get(self, run_id: str) -> ProbeRun:
        """Raises UnknownName."""
        run = await self._first(ProbeRunRow.id == run_id)
        if run is None:
            raise _unknown(run_id)
        return run

    async def list(
        self, suite: str = "", states: Collection[RunState] = (), page_size: int = 0, page_token: str = ""
    ) -> ProbeRunPage:
        """Newest first; empty `suite` and `states` take all. No run is on two pages, whatever is added meanwhile."""
        if page_size < 0:
            raise _invalid("page_size", "must be 0, for the default, or more")
        size = min(page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)
        query = select(_RUN).order_by(ProbeRunRow.id.desc()).limit(size + 1)
        if suite:
            query = query.where(ProbeRunRow.suite == suite)
        if states:
            query = query.where(ProbeRunRow.state.in_(states))
        if page_token:
            if not is_id(page_token):
                raise _invalid("page_token", "is not one that a list gave; leave it empty to begin anew")
            query = query.where(ProbeRunRow.id < page_token)
        async with self._database.reading() as connection:
            runs = [_run(row) for row in (await connection.execute(query)).mappings()]
        return ProbeRunPage(tuple(runs[:size]), runs[size - 1].id if len(runs) > size else "")

    async def count_by_state(self) -> dict[RunState, int]:
        """Only states that some run is in."""
        query = select(ProbeRunRow.state, func.count()).group_by(ProbeRunRow.state).order_by(ProbeRunRow.state)
        async with self._database.reading() as connection:
            return {RunState(state): count for state, count in await connection.execute(query)}

    async def transition(
        self,
        run_id: str,
        from_states: Collection[RunState],
        to_state: RunState,
        *,
        held_by: str | None = None,
        **change: Unpack[RunChange],
    ) -> ProbeRun | None:
        """Changes a run that is in one of `from_states`, and held by `held_by` if given. Else changes nothing: None.

        Of several who try at once, one gets the run.
        """
        statement = (
            update(ProbeRunRow)
            .where(ProbeRunRow.id == run_id, ProbeRunRow.state.in_(from_states))
            .values(state=to_state, **_changed(change))
            .returning(_RUN)
        )
        if held_by is not None:
            statement = statement.where(ProbeRunRow.holder == held_by)

        async def change_one(connection: AsyncConnection) -> ProbeRun | None:
            row = (await connection.execute(statement)).mappings().one_or_none()
            return None if row is None else _run(row)

        return await self._writer.write(change_one)

    async def finish(self, run_id: str, results: Mapping[str, Json], *, held_by: str | None = None) -> ProbeRun | None:
        """Ends a running run with its results. None, and no change, where it is not running, or not `held_by`'s."""
        return await self.transition(
            run_id,
            (RunState.RUNNING,),
            RunState.DONE,
            held_by=held_by,
            finished_at=datetime.now(UTC),
            results=results,
        )

    async def record_units(self, run_id: str, units: Sequence[ProbeUnit]) -> frozenset[str]:
        """Keeps units, all or none; returns the keys that were new. A unit that was kept before stays as it was.

        Raises UnknownName for a run that is not kept.
        """
        rows = [_unit_row(run_id, unit) for unit in sorted(units, key=lambda unit: unit.key)]

        async def record(connection: AsyncConnection) -> frozenset[str]:
            # Locked against deletion: units come and go with their run.
            exists = select(ProbeRunRow.id).where(ProbeRunRow.id == run_id).with_for_update(read=True, key_share=True)
            if (await connection.execute(exists)).one_or_none() is None:
                raise _unknown(run_id)
            if not rows:
                return frozenset()
            new = await connection.execute(_insert_new_units(connection), rows)
            return frozenset(new.scalars())

        return await self._writer.write(record)

    async def unit_keys(self, run_id: str) -> frozenset[str]:
        """Of the units that are done."""
        async with self._database.reading() as connection:
            keys = await connection.execute(select(ProbeUnitRow.key).where(ProbeUnitRow.run_id == run_id))
            return frozenset(keys.scalars())

    async def count_units(self, run_id: str) -> int:
        async with self._database.reading() as connection:
            count = select(func.count()).select_from(_UNIT).where(ProbeUnitRow.run_id == run_id)
            return (await connection.execute(count)).scalar_one()

    async def units(self, run_id: str) -> AsyncIterator[ProbeUnit]:
        """In the order of their keys' code points. Reads a part at a time, and holds nothing between two parts."""
        query = select(_UNIT).where(ProbeUnitRow.run_id == run_id).order_by(ProbeUnitRow.key).limit(_UNITS_AT_ONCE)
        after = ""
        while True:
            async with self._database.reading() as connection:
                part = (await connection.execute(query.where(ProbeUnitRow.key > after))).mappings().all()
            for row in part:
                yield _unit(row)
            if len(part) < _UNITS_AT_ONCE:
                return
            after = part[-1]["key"]

    async def last_finished(self, suite: str, before: str = "") -> ProbeRun | None:
        """The newest run of a suite that is DONE, of those made before the run `before`."""
        wanted = (ProbeRunRow.suite == suite) & (ProbeRunRow.state == RunState.DONE)
        return await self._first(wanted & (ProbeRunRow.id < before) if before else wanted)

    async def delete_older_than(self, suite: str, *, keep: int | None = None, before: datetime | None = None) -> int:
        """Deletes ended runs of a suite with their units: all but the newest `keep`, or those made before `before`.

        With both, only what both allow. Returns how many runs went. Runs that have not ended stay.
        """
        if keep is None and before is None:
            raise _invalid("keep", "or `before` must say what may go")
        if keep is not None and keep < 0:
            raise _invalid("keep", "must be 0 or more")
        ended = (ProbeRunRow.suite == suite) & ProbeRunRow.state.in_(FINAL_STATES)
        old: ColumnElement[bool] = ended
        if keep is not None:
            kept = select(ProbeRunRow.id).where(ended).order_by(ProbeRunRow.id.desc()).limit(keep)
            old = old & ProbeRunRow.id.not_in(kept)
        if before is not None:
            old = old & (ProbeRunRow.created_at < before)

        async def remove(connection: AsyncConnection) -> int:
            return (await connection.execute(delete(ProbeRunRow).where(old))).rowcount

        return await self._writer.write(remove)

    async def _first(self, wanted: ColumnElement[bool]) -> ProbeRun | None:
        async with self._database.reading() as connection:
            query = select(_RUN).where(wanted).order_by(ProbeRunRow.id.desc()).limit(1)
            row = (await connection.execute(query)).mappings().one_or_none()
        return None if row is None else _run(row)


class _Upsert(Protocol):
    def on_conflict_do_nothing(self, *, index_elements: Sequence[str]) -> Insert: ...


def _insert_new_units(connection: AsyncConnection) -> Any:
    kind = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    upsert = cast(_Upsert, kind(ProbeUnitRow))
    return upsert.on_conflict_do_nothing(index_elements=("run_id", "key")).returning(ProbeUnitRow.key)


def _run_row(run: ProbeRun) -> dict[str, Any]:
    if not is_id(run.id):
        raise _invalid("id", "must be a UUIDv7, as new_run() makes it")
    if not run.suite:
        raise _invalid("suite", "must not be empty")
    return {
        "id": run.id,
        "suite": run.suite,
        "state": run.state,
        "seed": run.seed,
        "trigger": run.trigger,
        "created_at": run.created_at,
        "digests": _json("digests", run.digests),
        "budget": _json("budget", run.budget),
        "started_at": run.started_at,
        "holder": run.holder,
        "units_total": run.units_total,
        "finished_at": run.finished_at,
        "results": _json("results", run.results),
        **_error_row(run.error),
    }


def _changed(change: RunChange) -> dict[str, Any]:
    row: dict[str, Any] = {name: value for name, value in change.items() if name != "error"}
    for name in ("digests", "results"):
        if name in change:
            row[name] = _json(name, row[name])
    return row | _error_row(change["error"]) if "error" in change else row


def _error_row(error: RunError | None) -> dict[str, str]:
    if error is None:
        return {"error_kind": "", "error_message": ""}
    message = "".join(sign if sign.isprintable() else " " for sign in error.message[:_MAX_ERROR_CHARS])
    return {"error_kind": error.kind, "error_message": message}


def _run(row: RowMapping) -> ProbeRun:
    error = RunError(row["error_kind"], row["error_message"]) if row["error_kind"] else None
    same = {name: row[name] for name in _SAME}
    return ProbeRun(state=RunState(row["state"]), trigger=Trigger(row["trigger"]), error=error, **same)


_SAME = (
    "id", "suite", "seed", "created_at", "digests", "budget", "units_total", "holder", "started_at", "finished_at",
    "results",
)  # fmt: skip


def _unit_row(run_id: str, unit: ProbeUnit) -> dict[str, Any]:
    if not unit.key or len(unit.key) > _MAX_KEY_CHARS or not unit.key.isprintable():
        raise _invalid("units.key", f"must be 1 to {_MAX_KEY_CHARS} printable characters")
    return {
        "run_id": run_id,
        "key": unit.key,
        "finished_at": unit.finished_at,
        "seconds": unit.seconds,
        "trials": _json("units.trials", unit.trials),
    }


def _unit(row: RowMapping) -> ProbeUnit:
    return ProbeUnit(row["key"], row["finished_at"], row["seconds"], tuple(row["trials"]))


def _json(field: str, value: Json) -> Json:
    """As it is, if every database keeps it: SQLite would take NaN, which PostgreSQL refuses."""
    try:
        return json.loads(json.dumps(value, allow_nan=False, default=_plain))
    except (TypeError, ValueError, RecursionError) as error:
        raise _invalid(field, f"is no JSON, whose numbers are finite ({type(error).__name__})") from error


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError


def _unknown(run_id: str) -> UnknownName:
    return UnknownName("probe run", run_id, ())


def _invalid(field: str, description: str) -> InvalidInput:
    return InvalidInput(f"{field} {description}", [FieldViolation(field, description)])
