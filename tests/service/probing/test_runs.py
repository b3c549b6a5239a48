"""Runs begun, watched and steered over real gRPC; a fake worker does them, whose gate decides how far it goes."""

from __future__ import annotations

import asyncio
import os
import signal

import grpc
import psutil
import pytest

from guards.errors import ConfigError
from service.app import App
from service.config import Settings
from tests.service.probing.conftest import Probe, Probed
from tests.service.probing.fake_worker import GATE_AT
from tests.service.probing.suites import FAKE_UNITS as UNITS
from tests.service.probing.suites import settings_for, write_suite
from tests.service.rollout.versions import Versions
from tests.waiting import until
from wardgate import WardgateError
from wardgate.v1.probe_pb2 import (
    PROBE_KIND_ATTACK,
    PROBE_KIND_BENIGN,
    PROBE_RUN_STATE_CANCELLED,
    PROBE_RUN_STATE_DONE,
    PROBE_RUN_STATE_FAILED,
    PROBE_RUN_STATE_PAUSED,
    PROBE_RUN_STATE_PENDING,
    PROBE_RUN_STATE_RUNNING,
    ProbeRun,
)

SLOW_S = 120.0


async def ended(probed: Probed, run: str) -> ProbeRun:
    return [now async for now in probed.client.watch_probe_run(run, timeout=SLOW_S)][-1]


async def begun(probed: Probed) -> str:
    """A run that is half done, and stays so until the gate is open."""
    run = await probed.client.start_probe_run("tiny")
    async for now in probed.client.watch_probe_run(run.id, timeout=SLOW_S):
        if now.units_done == GATE_AT:
            break
    return run.id


async def test_a_run_goes_from_the_line_to_its_results(probed: Probe) -> None:
    async with probed() as service:
        service.open_gate()
        waiting = await service.client.start_probe_run("tiny", seed=3, budget=60)
        states, last = [], waiting
        async for last in service.client.watch_probe_run(waiting.id, timeout=SLOW_S):
            states.append(last.state)
        listed = await service.client.list_probe_runs(suite="tiny")
        same = await service.client.get_probe_run(waiting.id)
    assert waiting.state == PROBE_RUN_STATE_PENDING
    assert states[-1] == PROBE_RUN_STATE_DONE
    assert states == sorted(states)
    assert last == same
    assert (last.seed, last.budget.seconds, last.trigger) == (3, 60, "rpc")
    assert (last.units_done, last.units_total, last.spent.ToTimedelta().total_seconds()) == (UNITS, UNITS, 1.5)
    assert last.created_at.ToDatetime() <= last.started_at.ToDatetime() <= last.finished_at.ToDatetime()
    assert last.digests == {"suite": "s1", "reward_model": "m1"}
    assert last.skipped == {"other": "needs model, which this server has not"}
    attack, benign = sorted(last.results, key=lambda row: row.kind)
    assert [attack.kind, benign.kind] == [PROBE_KIND_ATTACK, PROBE_KIND_BENIGN]
    assert (attack.successes, attack.trials, benign.successes, benign.trials) == (UNITS, UNITS, 1, UNITS)
    assert (attack.ratio, attack.parameters["transformation"].text) == (1.0, "base64")
    assert attack.low < 1.0 <= attack.high
    assert attack.skipped == {"no": UNITS}
    assert [run.id for run in listed.runs] == [waiting.id]
    assert not listed.runs[0].results


async def test_what_was_counted_is_in_the_figures_and_survives_a_restart(probed: Probe, versions: Versions) -> None:
    labels = {"suite": "tiny", "category": "encoding"}
    gauges = ("success_ratio", "ratio_lower", "ratio_upper", "log_evidence")
    async with probed() as service:
        service.open_gate()
        await ended(service, (await service.client.start_probe_run("tiny")).id)
        for kind, successes in (("attack", UNITS), ("benign", 1)):
            assert service.sample("wardgate_probe_trials_total", **labels, kind=kind) == UNITS
            assert service.sample("wardgate_probe_successes_total", **labels, kind=kind) == successes
            assert service.sample("wardgate_probe_success_ratio", **labels, kind=kind) == successes / UNITS
        assert service.sample("wardgate_probe_runs_total", suite="tiny", result="done") == 1
        assert service.sample("wardgate_probe_budget_seconds_total") == 1.5
        flips = {"suite": "tiny", "probe": "tiny", "target": "guard", "perturbation": "base64", "severity": "0.5"}
        assert service.sample("wardgate_probe_flip_ratio", **flips, kind="benign") == 1 / UNITS
        before = [service.sample(f"wardgate_probe_{name}", **labels, kind="attack") for name in gauges]
        when = service.sample("wardgate_probe_last_success_timestamp_seconds", suite="tiny")
    async with probed() as service:
        await until(
            lambda: service.sample("wardgate_probe_last_success_timestamp_seconds", suite="tiny") == when,
            within_s=SLOW_S,
        )
        assert [service.sample(f"wardgate_probe_{name}", **labels, kind="attack") for name in gauges] == before
        assert service.sample("wardgate_probe_trials_total", **labels, kind="attack") == 0


async def test_a_killed_process_is_replaced_and_every_unit_is_counted_once(probed: Probe) -> None:
    async with probed() as service:
        run = await begun(service)
        process = service.app.probing.runner.process
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        service.open_gate()
        last = await ended(service, run)
        counted = service.sample("wardgate_probe_trials_total", suite="tiny", category="encoding", kind="attack")
    assert (last.state, last.units_done) == (PROBE_RUN_STATE_DONE, UNITS)
    assert service.processes == 2
    assert service.units == [str(number) for number in range(UNITS)]
    assert counted == UNITS


async def test_a_process_that_always_dies_fails_its_run_and_not_the_next(probed: Probe) -> None:
    async with probed() as service:
        (service.folder / "die").touch()
        dead = await ended(service, (await service.client.start_probe_run("tiny")).id)
        (service.folder / "die").unlink()
        service.open_gate()
        alive = await ended(service, (await service.client.start_probe_run("tiny")).id)
        assert service.sample("wardgate_probe_runs_total", suite="tiny", result="failed") == 1
    assert (dead.state, alive.state) == (PROBE_RUN_STATE_FAILED, PROBE_RUN_STATE_DONE)
    assert "died 3 times" in dead.error
    assert "signal 6" in dead.error


async def test_a_run_that_cannot_be_done_says_why(probed: Probe) -> None:
    async with probed() as service:
        (service.folder / "refuse").touch()
        last = await ended(service, (await service.client.start_probe_run("tiny")).id)
    assert (last.state, last.error) == (PROBE_RUN_STATE_FAILED, "the policy is gone; put it back")


async def test_a_stopped_service_leaves_the_run_for_its_next_start(probed: Probe) -> None:
    async with probed() as service:
        run = await begun(service)
        child = service.app.probing.runner.process
        assert child is not None
    assert not psutil.pid_exists(child.pid)
    async with probed() as service:
        service.open_gate()
        last = await ended(service, run)
    assert last.state == PROBE_RUN_STATE_DONE
    assert service.units == [str(number) for number in range(UNITS)]


async def test_what_changed_meanwhile_is_never_mixed(probed: Probe) -> None:
    async with probed() as service:
        run = await begun(service)
    (service.folder / "model").write_text("m2")
    async with probed() as service:
        service.open_gate()
        last = await ended(service, run)
    assert last.state == PROBE_RUN_STATE_FAILED
    assert "reward_model" in last.error
    assert "start a new run" in last.error
    assert last.units_done == GATE_AT


async def test_a_paused_run_keeps_what_is_done_and_goes_on(probed: Probe) -> None:
    async with probed() as service:
        run = await begun(service)
        paused = await service.client.pause_probe_run(run)
        assert (await service.client.pause_probe_run(run)).state == PROBE_RUN_STATE_PAUSED  # a call may be repeated
        await until(lambda: service.app.probing.runner.process is None, within_s=SLOW_S)
        service.open_gate()
        assert (await service.client.resume_probe_run(run)).state in (PROBE_RUN_STATE_PENDING, PROBE_RUN_STATE_RUNNING)
        last = await ended(service, run)
        with pytest.raises(WardgateError) as refused:
            await service.client.resume_probe_run(run)
    assert paused.state == PROBE_RUN_STATE_PAUSED
    assert last.state == PROBE_RUN_STATE_DONE
    assert service.units == [str(number) for number in range(UNITS)]
    assert refused.value.code is grpc.StatusCode.FAILED_PRECONDITION
    assert "DONE" in refused.value.message


async def test_a_cancelled_run_ends_its_process_and_its_watchers(probed: Probe) -> None:
    async with probed() as service:
        run = await begun(service)
        watchers = [asyncio.create_task(ended(service, run)) for _ in range(5)]
        await service.client.cancel_probe_run(run)
        lasts = await asyncio.gather(*watchers)
        await until(lambda: service.app.probing.runner.process is None, within_s=SLOW_S)
    assert {last.state for last in lasts} == {PROBE_RUN_STATE_CANCELLED}
    assert len(service.units) == GATE_AT


async def test_live_requests_stop_the_process_and_let_it_go_on_after(probed: Probe, versions: Versions) -> None:
    settings = settings_for(versions, probing={"idle_s": 0.05, "min_share": 0.0})
    async with probed(settings) as service:
        run = await begun(service)
        process = service.app.probing.runner.process
        assert process is not None
        child = psutil.Process(process.pid)
        async with service.app.admission.place(asyncio.get_running_loop().time() + SLOW_S):
            await until(lambda: child.status() == psutil.STATUS_STOPPED)
            service.open_gate()
        await until(lambda: child.status() != psutil.STATUS_STOPPED)
        before = service.sample("wardgate_probe_preemptions_total")
        await service.client.check("hello")
        assert service.sample("wardgate_probe_preemptions_total") >= before >= 1
        assert (await ended(service, run)).state == PROBE_RUN_STATE_DONE


async def test_of_two_replicas_one_runs_and_the_other_takes_over(probed: Probe, versions: Versions) -> None:
    settings = settings_for(versions, probing={"schedules": [{"suite": "tiny", "every": "1h"}]})
    async with probed(settings) as one, probed(settings) as other:
        await until(lambda: len(one.units) == GATE_AT, within_s=SLOW_S)
        runners = [service.app.probing.runner for service in (one, other)]
        (at_work,) = [runner for runner in runners if runner.process]
        (run,) = (await other.client.list_probe_runs()).runs
        assert (run.state, run.trigger) == (PROBE_RUN_STATE_RUNNING, "schedule")
        spare, holder = (other, one) if at_work is one.app.probing.runner else (one, other)
        leases = (await spare.app.probing.memory.store()).leases
        assert await leases.release("probes", holder.app.probing.runner.holder)
        assert await leases.acquire("probes", spare.app.probing.runner.holder, SLOW_S)
        await until(lambda: spare.app.probing.runner.process is not None, within_s=SLOW_S)
        one.open_gate()
        last = await ended(spare, run.id)
        (only,) = (await other.client.list_probe_runs()).runs
    assert last.state == PROBE_RUN_STATE_DONE
    assert only.id == run.id
    assert last.units_done == UNITS


async def test_a_stopping_server_tells_its_watchers(probed: Probe) -> None:
    async with probed() as service:
        run = await begun(service)
        watching = asyncio.create_task(ended(service, run))
        await until(lambda: bool(service.app.probing.watches.watched))
        service.app.probing.watches.close()
        with pytest.raises(WardgateError) as refused:
            await watching
    assert refused.value.code is grpc.StatusCode.UNAVAILABLE


async def test_what_does_not_exist_is_not_found(probed: Probe) -> None:
    async with probed() as service:
        for call, listed in (
            (service.client.start_probe_run("nothing"), "tiny"),
            (service.client.start_probe_run("tiny", policy="nothing"), "default"),
            (service.client.get_probe_run("nothing"), ""),
            (service.client.cancel_probe_run("nothing"), ""),
            (anext(aiter(service.client.watch_probe_run("nothing"))), ""),
        ):
            with pytest.raises(WardgateError) as refused:
                await call
            assert refused.value.code is grpc.StatusCode.NOT_FOUND
            assert listed in refused.value.message


async def test_suites_are_listed_and_a_broken_one_is_told_of(probed: Probe, versions: Versions) -> None:
    settings = settings_for(versions)
    write_suite(versions.root / "suites", "broken", "name: broken")
    async with probed(settings) as service:
        reply = await service.client.list_probe_suites()
        with pytest.raises(WardgateError) as refused:
            await service.client.start_probe_run("broken")
    assert {"guard", "tiny"} <= {suite.name for suite in reply.suites}
    assert [damaged.name for damaged in reply.damaged] == ["broken"]
    assert refused.value.code is grpc.StatusCode.FAILED_PRECONDITION


async def test_a_schedule_of_what_does_not_exist_stops_the_start(versions: Versions) -> None:
    for schedule, fault in (
        ({"suite": "nothing", "every": "1h"}, "no suite 'nothing'"),
        ({"suite": "tiny", "policy": "nothing", "every": "1h"}, "policy"),
    ):
        settings: Settings = settings_for(versions, probing={"schedules": [schedule]})
        with pytest.raises(ConfigError, match=fault):
            App(settings)


async def test_nothing_is_made_where_probes_are_not_used(versions: Versions) -> None:
    settings = settings_for(versions)
    App(settings)
    assert not (versions.root / "store.db").exists()
