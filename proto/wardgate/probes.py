"""What each method of the clients for robustness probes sends and expects; see `calls.py`."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration

from wardgate.calls import Call, StreamCall
from wardgate.v1.probe_pb2 import (
    CancelProbeRunRequest,
    CancelProbeRunResponse,
    GetProbeRunRequest,
    GetProbeRunResponse,
    ListProbeRunsRequest,
    ListProbeRunsResponse,
    ListProbeSuitesRequest,
    ListProbeSuitesResponse,
    PauseProbeRunRequest,
    PauseProbeRunResponse,
    ProbeRun,
    ResumeProbeRunRequest,
    ResumeProbeRunResponse,
    StartProbeRunRequest,
    StartProbeRunResponse,
    WatchProbeRunRequest,
    WatchProbeRunResponse,
)

_SERVICE = "wardgate.v1.ProbeService"
_WATCH_S = 300.0  # the longest that a server takes unless it is told otherwise


def list_probe_suites(*, timeout: float | None = None) -> Call[ListProbeSuitesResponse]:
    """Suites that can be run. `timeout` is in seconds. Raises WardgateError."""
    return Call(f"/{_SERVICE}/ListProbeSuites", ListProbeSuitesRequest(), ListProbeSuitesResponse.FromString, timeout)


def start_probe_run(
    suite: str,
    *,
    policy: str = "",
    seed: int | None = None,
    budget: float | None = None,
    timeout: float | None = None,
) -> Call[ProbeRun]:
    """Puts a run in the line and gives it. Needs an admin's token.

    `policy` is attacked, by default the default one; `budget` is CPU time in seconds. Raises WardgateError.
    """
    request = StartProbeRunRequest(suite=suite, policy=policy, seed=seed)
    if budget is not None:
        request.budget.CopyFrom(Duration(seconds=int(budget), nanos=round(budget % 1 * 1e9)))
    return Call(f"/{_SERVICE}/StartProbeRun", request, lambda raw: StartProbeRunResponse.FromString(raw).run, timeout)


def get_probe_run(run: str, *, timeout: float | None = None) -> Call[ProbeRun]:
    """One run by its id, with its results once it is done. Raises WardgateError."""
    request = GetProbeRunRequest(id=run)
    return Call(f"/{_SERVICE}/GetProbeRun", request, lambda raw: GetProbeRunResponse.FromString(raw).run, timeout)


def list_probe_runs(
    *, suite: str = "", page_size: int = 0, page_token: str = "", timeout: float | None = None
) -> Call[ListProbeRunsResponse]:
    """Runs that are kept, the latest first, of one suite or all; a page at a time. Raises WardgateError."""
    request = ListProbeRunsRequest(suite=suite, page_size=page_size, page_token=page_token)
    return Call(f"/{_SERVICE}/ListProbeRuns", request, ListProbeRunsResponse.FromString, timeout)


def watch_probe_run(run: str, *, timeout: float = _WATCH_S) -> StreamCall[ProbeRun]:
    """The run now, whenever it has changed, and at last as it ended, with its results.

    Raises WardgateError; with DEADLINE_EXCEEDED or UNAVAILABLE the run may go on still: watch again.
    """
    request = WatchProbeRunRequest(id=run)
    return StreamCall(
        f"/{_SERVICE}/WatchProbeRun", request, lambda raw: WatchProbeRunResponse.FromString(raw).run, timeout
    )


def pause_probe_run(run: str, *, timeout: float | None = None) -> Call[ProbeRun]:
    """Stops a run; what is done is kept. Needs an admin's token. Raises WardgateError."""
    request = PauseProbeRunRequest(id=run)
    return Call(f"/{_SERVICE}/PauseProbeRun", request, lambda raw: PauseProbeRunResponse.FromString(raw).run, timeout)


def resume_probe_run(run: str, *, timeout: float | None = None) -> Call[ProbeRun]:
    """Puts a paused run back in the line. Needs an admin's token. Raises WardgateError."""
    request = ResumeProbeRunRequest(id=run)
    return Call(f"/{_SERVICE}/ResumeProbeRun", request, lambda raw: ResumeProbeRunResponse.FromString(raw).run, timeout)


def cancel_probe_run(run: str, *, timeout: float | None = None) -> Call[ProbeRun]:
    """Ends a run for good, without results. Needs an admin's token. Raises WardgateError."""
    request = CancelProbeRunRequest(id=run)
    return Call(f"/{_SERVICE}/CancelProbeRun", request, lambda raw: CancelProbeRunResponse.FromString(raw).run, timeout)
