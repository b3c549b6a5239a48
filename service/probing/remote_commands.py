"""`wardgate probe start|runs|status|pause|resume|cancel`: the operator's side, over gRPC to a running server."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from service.remote import call

if TYPE_CHECKING:  # loading gRPC takes longer than most commands
    from google.protobuf.timestamp_pb2 import Timestamp

    from wardgate import Client
    from wardgate.v1.probe_pb2 import ListProbeRunsResponse, ProbeResult, ProbeRun

_WATCH_AGAIN_S = 1.0
_AGAIN = frozenset(("DEADLINE_EXCEEDED", "UNAVAILABLE"))  # the run may go on behind it


def start(options: Namespace) -> int:
    """With --wait until the run has ended: 0 when it is done, 1 when it failed or was cancelled."""
    ended: list[ProbeRun] = []

    def use(client: Client) -> None:
        run = client.start_probe_run(options.suite, policy=options.policy, seed=options.seed, budget=options.budget)
        if options.wait:
            for now in _watch(client, run.id):
                run = now
                if not options.json:
                    print(_line(now), file=sys.stderr)
            ended.append(run)
        _show(run, options.json)

    code = call(options, use)
    return code or (1 if ended and _state(ended[0]) != "done" else 0)


def runs(options: Namespace) -> int:
    return call(
        options,
        lambda client: _show_all(client.list_probe_runs(suite=options.suite, page_size=options.limit), options.json),
    )


def status(options: Namespace) -> int:
    return call(options, lambda client: _show(client.get_probe_run(options.id), options.json))


def pause(options: Namespace) -> int:
    return call(options, lambda client: _show(client.pause_probe_run(options.id), options.json))


def resume(options: Namespace) -> int:
    return call(options, lambda client: _show(client.resume_probe_run(options.id), options.json))


def cancel(options: Namespace) -> int:
    return call(options, lambda client: _show(client.cancel_probe_run(options.id), options.json))


def _watch(client: Client, run: str) -> Iterator[ProbeRun]:
    """To its end, over deadlines and restarts of the server."""
    from wardgate import WardgateError

    while True:
        try:
            yield from client.watch_probe_run(run)
            return
        except WardgateError as error:
            if error.code.name not in _AGAIN:
                raise
        time.sleep(_WATCH_AGAIN_S)


def _show_all(reply: ListProbeRunsResponse, as_json: bool) -> None:
    from google.protobuf.json_format import MessageToJson

    if as_json:
        print(MessageToJson(reply))
        return
    for run in reply.runs:
        print(_line(run))


def _show(run: ProbeRun, as_json: bool) -> None:
    from google.protobuf.json_format import MessageToJson

    if as_json:
        print(MessageToJson(run))
        return
    print(_line(run))
    if run.error:
        print(f"  error: {run.error}")
    for name, digest in sorted(run.digests.items()):
        print(f"  {name}: {digest}")
    for probe, why in sorted(run.skipped.items()):
        print(f"  skipped {probe}: {why}")
    for row in run.results:
        print(f"  {_row(row)}")


def _line(run: ProbeRun) -> str:
    units = f"{run.units_done}/{run.units_total}" if run.units_total else "-"
    return f"{run.id}  {run.suite:16} {_state(run):9} {units:>11}  {_when(run.created_at)}  {run.trigger}"


def _row(row: ProbeResult) -> str:
    from wardgate.v1.probe_pb2 import ProbeKind

    kind = ProbeKind.Name(row.kind).removeprefix("PROBE_KIND_").lower()
    ratio = f"{row.ratio:6.1%} [{row.low:.1%}, {row.high:.1%}]" if row.HasField("ratio") else "no trials"
    return f"{row.probe} {row.target} {kind:6} {_parameters(row.parameters)}: {row.successes}/{row.trials} = {ratio}"


def _parameters(parameters: Mapping[str, object]) -> str:
    words = []
    for name in sorted(parameters):
        value = parameters[name]
        words.append(f"{name}={value.text or format(value.number, 'g')}")  # type: ignore[attr-defined]
    return " ".join(words) or "-"


def _state(run: ProbeRun) -> str:
    from wardgate.v1.probe_pb2 import ProbeRunState

    return ProbeRunState.Name(run.state).removeprefix("PROBE_RUN_STATE_").lower()


def _when(stamp: Timestamp) -> str:
    return stamp.ToDatetime().strftime("%Y-%m-%d %H:%M:%SZ")
