"""ProbeService: decode, act on the runs, encode."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from guards.errors import FieldViolation, InvalidInput
from guards.probes.base import ProbeKind
from guards.probes.results import Result
from guards.probes.suite import Suite
from service.convert import MAX_NAME, duration, parse
from service.interceptors import Method, StreamMethod
from service.probing.results import rows_from_json
from service.probing.runs import Runs, RunView
from service.probing.watch import Watches
from service.store.probe_records import FINAL_STATES, RunState
from wardgate.v1 import probe_pb2 as probes

_KINDS = {ProbeKind.ATTACK: probes.PROBE_KIND_ATTACK, ProbeKind.BENIGN: probes.PROBE_KIND_BENIGN}
_STATES: Mapping[RunState, probes.ProbeRunState] = {
    state: getattr(probes, f"PROBE_RUN_STATE_{state.name}") for state in RunState
}
_MAX_PAGE = 200
_PAGE = 50
_SEEDS = range(-(2**31), 2**63)
_LONGEST_BUDGET_S = 366 * 86400


class ProbeServicer:
    """Methods take the request's bytes and a deadline, which ends them from outside."""

    service = probes.DESCRIPTOR.services_by_name["ProbeService"].full_name
    admin_methods = frozenset({"StartProbeRun", "PauseProbeRun", "ResumeProbeRun", "CancelProbeRun"})

    def __init__(self, runs: Runs, watches: Watches, max_message_bytes: int) -> None:
        self._runs = runs
        self._watches = watches
        self._max_message_bytes = max_message_bytes

    @property
    def methods(self) -> Mapping[str, Method]:
        return {
            "ListProbeSuites": self.list_probe_suites,
            "StartProbeRun": self.start_probe_run,
            "GetProbeRun": self.get_probe_run,
            "ListProbeRuns": self.list_probe_runs,
            "PauseProbeRun": self.pause_probe_run,
            "ResumeProbeRun": self.resume_probe_run,
            "CancelProbeRun": self.cancel_probe_run,
        }

    @property
    def stream_methods(self) -> Mapping[str, StreamMethod]:
        return {"WatchProbeRun": self.watch_probe_run}

    async def list_probe_suites(self, raw: bytes, _: float) -> probes.ListProbeSuitesResponse:
        parse(probes.ListProbeSuitesRequest, raw, self._max_message_bytes)
        view = await self._runs.suites()
        return probes.ListProbeSuitesResponse(
            suites=[_suite(suite) for suite in view.suites],
            damaged=[probes.DamagedProbeSuite(name=name, fault=fault) for name, fault in view.damaged.items()],
        )

    async def start_probe_run(self, raw: bytes, _: float) -> probes.StartProbeRunResponse:
        request = parse(probes.StartProbeRunRequest, raw, self._max_message_bytes)
        _require(_start_faults(request))
        seed = request.seed if request.HasField("seed") else None
        view = await self._runs.start(request.suite, request.policy, seed, _budget_s(request))
        return probes.StartProbeRunResponse(run=_run(view))

    async def get_probe_run(self, raw: bytes, _: float) -> probes.GetProbeRunResponse:
        request = parse(probes.GetProbeRunRequest, raw, self._max_message_bytes)
        return probes.GetProbeRunResponse(run=_run(await self._runs.get(_id(request.id)), results=True))

    async def list_probe_runs(self, raw: bytes, _: float) -> probes.ListProbeRunsResponse:
        request = parse(probes.ListProbeRunsRequest, raw, self._max_message_bytes)
        _require(_list_faults(request))
        page = await self._runs.list(request.suite, request.page_size or _PAGE, request.page_token)
        return probes.ListProbeRunsResponse(
            runs=[_run(view) for view in page.runs], next_page_token=page.next_page_token
        )

    async def watch_probe_run(self, raw: bytes, _: float) -> AsyncGenerator[probes.WatchProbeRunResponse, None]:
        request = parse(probes.WatchProbeRunRequest, raw, self._max_message_bytes)
        async with aclosing(self._watches.watch(_id(request.id))) as views:
            async for view in views:
                yield probes.WatchProbeRunResponse(run=_run(view, results=view.run.state in FINAL_STATES))

    async def pause_probe_run(self, raw: bytes, _: float) -> probes.PauseProbeRunResponse:
        request = parse(probes.PauseProbeRunRequest, raw, self._max_message_bytes)
        return probes.PauseProbeRunResponse(run=_run(await self._runs.pause(_id(request.id))))

    async def resume_probe_run(self, raw: bytes, _: float) -> probes.ResumeProbeRunResponse:
        request = parse(probes.ResumeProbeRunRequest, raw, self._max_message_bytes)
        return probes.ResumeProbeRunResponse(run=_run(await self._runs.resume(_id(request.id))))

    async def cancel_probe_run(self, raw: bytes, _: float) -> probes.CancelProbeRunResponse:
        request = parse(probes.CancelProbeRunRequest, raw, self._max_message_bytes)
        return probes.CancelProbeRunResponse(run=_run(await self._runs.cancel(_id(request.id))))


def _start_faults(request: probes.StartProbeRunRequest) -> list[FieldViolation]:
    faults = []
    if not 1 <= len(request.suite) <= MAX_NAME:
        faults.append(FieldViolation("suite", "name a suite"))
    if len(request.policy) > MAX_NAME:
        faults.append(FieldViolation("policy", f"at most {MAX_NAME} characters"))
    if request.HasField("seed") and request.seed not in _SEEDS:
        faults.append(FieldViolation("seed", f"{_SEEDS.start} to {_SEEDS.stop - 1}"))
    budget_s = _budget_s(request)
    if budget_s is not None and not 0 < budget_s <= _LONGEST_BUDGET_S:
        faults.append(FieldViolation("budget", "over 0, and a year at most"))
    return faults


def _list_faults(request: probes.ListProbeRunsRequest) -> list[FieldViolation]:
    faults = []
    if not 0 <= request.page_size <= _MAX_PAGE:
        faults.append(FieldViolation("page_size", f"1 to {_MAX_PAGE}, or 0 for {_PAGE}"))
    if len(request.suite) > MAX_NAME:
        faults.append(FieldViolation("suite", f"at most {MAX_NAME} characters"))
    return faults


def _id(run_id: str) -> str:
    _require([] if 1 <= len(run_id) <= MAX_NAME else [FieldViolation("id", "name a run by its id")])
    return run_id


def _require(faults: list[FieldViolation]) -> None:
    if faults:
        raise InvalidInput(f"invalid request: {', '.join(fault.field for fault in faults)}", faults)


def _budget_s(request: probes.StartProbeRunRequest) -> float | None:
    return request.budget.seconds + request.budget.nanos / 1e9 if request.HasField("budget") else None


def _suite(suite: Suite) -> probes.ProbeSuite:
    return probes.ProbeSuite(
        name=suite.name,
        description=suite.description,
        digest=suite.digest,
        seed=suite.seed,
        probes=[probe.name for probe in suite.probes],
    )


def _run(view: RunView, results: bool = False) -> probes.ProbeRun:
    run, came_to = view.run, view.run.results or {}
    budget_s = run.budget.get("cpu_s")
    return probes.ProbeRun(
        id=run.id,
        suite=run.suite,
        state=_STATES[run.state],
        seed=run.seed,
        policy=run.budget.get("policy", ""),
        digests=run.digests,
        trigger=run.trigger,
        created_at=_timestamp(run.created_at),
        started_at=_timestamp(run.started_at),
        finished_at=_timestamp(run.finished_at),
        units_total=run.units_total,
        units_done=view.units_done,
        spent=duration(came_to["spent_s"]) if came_to else None,
        budget=None if budget_s is None else duration(budget_s),
        skipped=came_to.get("skipped", {}),
        error=run.error.message if run.error else "",
        results=[_result(row) for row in rows_from_json(run.results)] if results else (),
    )


def _timestamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def _result(row: Result) -> probes.ProbeResult:
    return probes.ProbeResult(
        probe=row.probe,
        target=row.target,
        category=row.category,
        kind=_KINDS[row.kind],
        parameters={name: _parameter(value) for name, value in row.parameters.items()},
        trials=row.trials,
        successes=row.successes,
        ratio=row.ratio,
        low=row.low,
        high=row.high,
        skipped=row.skipped,
        errors=row.errors,
        log_evidence=row.log_evidence,
        tolerated=row.tolerated,
        clean_accuracy=row.clean_accuracy,
        adversarial_accuracy=row.adversarial_accuracy,
        accuracy_trials=row.accuracy_trials,
        epsilon=row.epsilon,
        norm=row.norm or "",
        mean_value=row.mean_value,
        mean_low=row.mean_low,
        mean_high=row.mean_high,
        corrected=probes.ProbeEstimate(value=row.corrected.value, low=row.corrected.low, high=row.corrected.high)
        if row.corrected
        else None,
    )


def _parameter(value: str | int | float) -> probes.ProbeParameter:
    return probes.ProbeParameter(text=value) if isinstance(value, str) else probes.ProbeParameter(number=value)
