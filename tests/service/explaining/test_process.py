"""The real child process on a tiny model, through the real server."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from guards.errors import Unavailable
from service.explaining.work import HeadWork
from tests.fakes import ask, running_server, user, write_policy
from tests.service.explaining.conftest import Tiny
from tests.waiting import until
from wardgate.v1 import explanation_pb2 as explanations
from wardgate.v1 import guardrail_pb2 as guardrail

_PATIENCE_S = 120.0  # a child imports torch


def children() -> list[int]:
    return [child.pid for child in multiprocessing.active_children() if child.name == "explaining" and child.pid]


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
