"""`python -m bench.monitor`: exits with 1, and names them, where a panel or an alert has no figures.

The real service, with a calibration, a shadow, a canary, a store, a run of probes and explanations, works under mixed
load; a real Prometheus scrapes it with the shipped rules. Then every expression of the shipped dashboards is asked,
with its variables filled in, and every metric that an alert or a recording rule names. `--picture` draws the overview
from Prometheus's answers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.monitor.load import Load
from bench.monitor.picture import draw
from bench.monitor.prometheus import SCRAPE_S, Prometheus, Series, prometheus
from bench.monitor.scenario import CANARY, SHADOW, SUITE, TOKEN, Scenario, write_scenario
from bench.processes import free_port, server
from helm.monitoring.expressions import (
    Expression,
    annotation_expressions,
    dashboards,
    filled_in,
    metrics_of,
    panel_expressions,
    rules,
)
from wardgate import AsyncClient
from wardgate.v1.probe_pb2 import PROBE_RUN_STATE_DONE

_RATE_INTERVAL = f"{SCRAPE_S * 8}s"
_CHANGE_S = 200.0  # a version is exported before it serves
_TIMEOUT_S = 60.0
_RUN_S = 600.0  # for the run of probes; half a minute where no other process wants its core


@dataclass(frozen=True, slots=True)
class Asked:
    expression: Expression
    series: int


@dataclass(frozen=True, slots=True)
class Span:
    """Seconds since 1970."""

    start: float
    end: float

    @property
    def range(self) -> str:
        return f"{round(self.end - self.start)}s"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.monitor", description=__doc__)
    parser.add_argument("--phase-s", type=float, default=12.0, help="seconds of load between two events")
    parser.add_argument("--picture", type=Path, metavar="FOLDER", help="where dashboard.png and its first rows go")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="work there, and leave the logs behind")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = options.keep or Path(name)
        folder.mkdir(exist_ok=True)
        return _run(folder, options.phase_s, options.picture)


def _run(folder: Path, phase_s: float, picture: Path | None) -> int:
    upstream_port = free_port()
    scenario = write_scenario(folder, free_port(), free_port(), upstream_port)
    service = ["-m", "service", "serve", "--config", str(scenario.config)]
    with (
        server(["-m", "bench.monitor.upstream", str(upstream_port)], upstream_port, folder / "upstream.log"),
        prometheus(folder, scenario.http) as asked,
        server(service, scenario.port, folder / "service.log"),
    ):
        started = time.time()
        load = asyncio.run(_drive(scenario, phase_s))
        span = Span(started, time.time())
        answers = _panels(asked, span) + _metrics(asked)
        faults = asked.faults_of_rules()
        states = asked.states_of_alerts()
        if picture:
            draw(asked, dashboards()[0], picture, span.start, span.end, _RATE_INTERVAL)
    empty = [one for one in answers if not one.series]
    _print(answers, states, dict(load.outcomes), span)
    for one in empty:
        print(f"EMPTY  {one.expression.of}: {one.expression.text}")
    for fault in faults:
        print(f"FAULT  {fault}")
    print(f"{len(answers)} expressions, {len(empty)} empty, {len(faults)} rules at fault, {span.range} of load")
    return 1 if empty or faults else 0


async def _drive(scenario: Scenario, phase_s: float) -> Load:
    """What happens while the load runs; the calls' own failures are part of it."""
    async with AsyncClient(scenario.address, token=TOKEN, timeout=_TIMEOUT_S) as client, asyncio.TaskGroup() as tasks:
        await _probe(client)  # first, since probes make way for live calls
        load = Load(client, scenario)
        await load.explain(4)  # likewise
        tasks.create_task(load.run())
        try:
            await asyncio.sleep(phase_s)
            await client.set_rollout(SHADOW, "shadow", timeout=_CHANGE_S)
            await client.set_rollout(CANARY, "canary", percent=30, timeout=_CHANGE_S)
            scenario.set_policy("2")
            await asyncio.sleep(phase_s)
            scenario.break_policy()
            await asyncio.sleep(phase_s)
            scenario.set_policy("3")
            await asyncio.sleep(phase_s)
        finally:
            load.stop()
    return load


async def _probe(client: AsyncClient) -> None:
    """A run of probes, from its beginning to its end. Raises RuntimeError where it fails."""
    run = await client.start_probe_run(SUITE)
    async with asyncio.timeout(_RUN_S):
        while not run.finished_at.seconds:
            await asyncio.sleep(0.5)
            run = await client.get_probe_run(run.id)
    if run.state != PROBE_RUN_STATE_DONE:
        raise RuntimeError(f"the probes failed: {run.error or run}")


def _panels(asked: Prometheus, span: Span) -> list[Asked]:
    """Panels show a span of time, so an expression may have had its series at any moment of it."""
    found = []
    for dashboard in dashboards():
        for expression in (*panel_expressions(dashboard), *annotation_expressions(dashboard)):
            text = filled_in(expression.text, _RATE_INTERVAL, span.range)
            found.append(Asked(expression, _with_figures(asked.over(text, span.start, span.end, 2 * SCRAPE_S))))
    return found


def _with_figures(series: list[Series]) -> int:
    """A series of nothing but 0 / 0 shows nothing."""
    return sum(not all(math.isnan(value) for _, value in one.points) for one in series)


def _metrics(asked: Prometheus) -> list[Asked]:
    """Every series that alerts and recording rules read, those that are recorded themselves among them."""
    found = []
    for kind in ("alert", "record"):
        for rule in rules(kind):
            for name in sorted(metrics_of(rule["expr"])):
                found.append(Asked(Expression(f"{rule[kind]} / {name}", name), _with_figures(asked.now(name))))
    return found


def _print(answers: list[Asked], states: dict[str, str], outcomes: dict[str, int], span: Span) -> None:
    width = max(len(one.expression.of) for one in answers)
    for one in answers:
        print(f"{one.expression.of:<{width}}  {one.series:>4} series")
    raised = {name: state for name, state in states.items() if state != "inactive"}
    print(f"alerts after {span.range}: {json.dumps(raised)}")
    print(f"calls: {json.dumps(outcomes)}")


if __name__ == "__main__":
    sys.exit(main())
