"""The real child process on a tiny model, through the real server."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import grpc
import pytest

from guards.errors import Unavailable
from service.config import ExplanationSettings
from service.explaining.work import HeadExplained, HeadWork
from tests.fakes import ask, running_server, user, write_policy
from tests.service.explaining.conftest import FakeProcess, Tiny
from tests.waiting import until
from wardgate.v1 import explanation_pb2 as explanations
from wardgate.v1 import guardrail_pb2 as guardrail

_PATIENCE_S = 120.0  # a child imports torch


def children() -> list[int]:
    return [child.pid for child in multiprocessing.active_children() if child.name == "explaining" and child.pid]


def state(pid: int) -> str:
    """T is stopped, Z has ended; empty where there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""


async def test_the_child_explains_and_shows_attention_and_checks_go_on_beside_it(tmp_path: Path, tiny: Tiny) -> None:
    write_policy(tmp_path)
    async with running_server(tmp_path, tiny.scorer(), process=tiny.process(), artefact=tiny.artefact) as server:
        texts = [f"a knife, number {number}" for number in range(16)]
        before = [(await server.check(ask(text, views=[guardrail.VIEW_SCORES]))).scores for text in texts]
        explaining = asyncio.ensure_future(
            server.explain(
                guardrail.ExplainRequest(messages=[user("what is this?")], attention={"layer": 1}), _PATIENCE_S
            )
        )
        checks = [server.check(ask(text, views=[guardrail.VIEW_SCORES]), 60.0) for text in texts]
        assert [reply.scores for reply in await asyncio.gather(*checks)] == before
        found = (await explaining).explanation
        assert found.method in ("gradient_attention", "integrated_gradients", "occlusion", "greedy_masking")
        assert found.reward_model.digest == tiny.identity.digest
        assert len(found.faithfulness.deletion) == 11
        size = len(found.attention.tokens)
        assert len(found.attention.weights) == size * size
        assert sum(found.attention.weights[:size]) == pytest.approx(1.0, abs=1e-5)
        for fields, fault in (
            ({"attention": explanations.AttentionSelection(layer=9)}, "there is no such layer"),
            ({"head": "response_reward"}, "a response to a prompt"),
        ):
            with pytest.raises(grpc.aio.AioRpcError, match=fault) as refused:
                await server.explain(guardrail.ExplainRequest(messages=[user("hi")], **fields), _PATIENCE_S)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert len(children()) == 1
    assert not children()


async def test_a_child_that_dies_at_work_fails_that_call_alone(tmp_path: Path, tiny: Tiny) -> None:
    write_policy(tmp_path)
    request = guardrail.ExplainRequest(messages=[user("what is this?")], method="fast")
    async with running_server(tmp_path, tiny.scorer(), process=tiny.process(), artefact=tiny.artefact) as server:
        await server.explain(request, _PATIENCE_S)
        (pid,) = children()
        os.kill(pid, signal.SIGSTOP)  # so that it is at work for as long as this takes
        dying = asyncio.ensure_future(server.explain(request, _PATIENCE_S))
        await until(lambda: server.explanations.working)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(grpc.aio.AioRpcError) as lost:
            await dying
        assert lost.value.code() is grpc.StatusCode.UNAVAILABLE
        assert (await server.explain(request, _PATIENCE_S)).explanation.head == "request_risk"
        assert children() != [pid]


def test_a_child_that_hangs_is_killed(tiny: Tiny) -> None:
    process = tiny.process()
    try:
        process.start()
        (pid,) = children()
        os.kill(pid, signal.SIGSTOP)
        work = HeadWork(tiny.artefact, tiny.identity.digest, "hi", None, "request_risk", "fast", 1.0)
        with pytest.raises(Unavailable, match="hung"):
            process.ask(work, 0.2)
        assert not children()
    finally:
        process.close()


async def test_an_explanation_makes_way_for_live_requests(tmp_path: Path, tiny: Tiny) -> None:
    write_policy(tmp_path)
    request = guardrail.ExplainRequest(messages=[user("what is this? " * 40)], method="auto")
    settings = ExplanationSettings(idle_s=0.05, min_share=0.001)
    async with running_server(
        tmp_path, tiny.scorer(), process=tiny.process(), artefact=tiny.artefact, explanation_settings=settings
    ) as server:
        await server.explain(request, _PATIENCE_S)
        (pid,) = children()
        async with server.admission.place(time.monotonic() + _PATIENCE_S):
            explaining = asyncio.ensure_future(server.explain(request, _PATIENCE_S))
            await until(lambda: state(pid) == "T")
            await asyncio.sleep(0.2)
            assert not explaining.done()
        assert (await explaining).explanation.head == "request_risk"
        assert state(pid) != "T"


async def test_a_request_that_waits_for_its_own_explanation_does_not_stop_it(tmp_path: Path, tiny: Tiny) -> None:
    write_policy(tmp_path)
    process = FakeProcess()
    async with running_server(tmp_path, tiny.scorer(), process=process, artefact=tiny.artefact) as server:
        reply = await server.check(ask("a knife", views=[guardrail.VIEW_EXPLANATION]))
        assert reply.explanation.explanation.head == "request_risk"
        assert process.signals == []
        await server.explain(guardrail.ExplainRequest(messages=[user("a knife")]))
        assert process.signals[-1] == "go on"


async def test_a_process_that_is_stopped_has_its_time_all_the_same(tiny: Tiny) -> None:
    process = tiny.process()
    work = HeadWork(tiny.artefact, tiny.identity.digest, "hi", None, "request_risk", "fast", 1.0)
    try:
        await asyncio.to_thread(process.ask, work, _PATIENCE_S)
        process.stop()
        asking = asyncio.create_task(asyncio.to_thread(process.ask, work, 2.0))
        await asyncio.sleep(3.0)
        assert not asking.done()
        process.go_on()
        assert isinstance(await asking, HeadExplained)
    finally:
        process.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
async def test_a_stopped_child_ends_with_its_parent(tmp_path: Path, tiny: Tiny) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import multiprocessing, os, sys\n"
        "from pathlib import Path\n"
        "from service.explaining.process import ExplainingProcess\n"
        "from service.explaining.work import ChildSettings\n"
        "if __name__ == '__main__':\n"
        f"    process = ExplainingProcess({tiny.child!r})\n".replace("PosixPath", "Path")
        + "    process.start()\n"
        "    process.stop()\n"
        "    print(multiprocessing.active_children()[0].pid, flush=True)\n"
        "    os._exit(1)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    parent = await asyncio.to_thread(
        subprocess.run, [sys.executable, str(script)], capture_output=True, text=True, env=environment
    )
    pid = int(parent.stdout)
    await until(lambda: state(pid) in ("", "Z"))  # nobody here waits for it


def test_serving_and_asking_never_load_torch() -> None:
    code = (
        "import sys, service.app, service.explaining.process, service.explaining.replies, service.__main__;"
        "raise SystemExit('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
