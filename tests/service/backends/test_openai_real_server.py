"""Against `transformers serve` with the embedded model: an OpenAI-compatible server that is not ours."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import platformdirs
import pytest

from guards.errors import BackendError, DeadlineExceeded
from guards.types import Message, Role, TextPart
from service.backends.base import FinishReason, SamplingParameters
from service.backends.openai import OpenAIBackend
from service.models import ModelCache

pytestmark = pytest.mark.models

STORY = (Message(Role.USER, (TextPart("Write a very long story about a dragon and a village, in ten chapters."),)),)
QUESTION = (Message(Role.USER, (TextPart("What is the capital of France? Answer in one sentence."),)),)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def model() -> Path:
    return ModelCache(platformdirs.user_cache_path("wardgate") / "models").path("smollm2-135m-instruct")


@pytest.fixture(scope="module")
def address(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    folder = tmp_path_factory.mktemp("upstream")
    log = folder / "log"
    command = [str(Path(sys.executable).parent / "transformers"), "serve", str(model), "--host", "127.0.0.1"]
    command += ["--port", str(port), "--continuous-batching", "--attn-implementation", "sdpa"]
    # Without a hub cache, even an empty one, it answers GET /v1/models with 500.
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(folder), "OMP_NUM_THREADS": "2"}
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output, env=offline) as server:
        try:
            wait_until_it_listens(server, port, log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()


def wait_until_it_listens(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if server.poll() is not None:
            pytest.fail(f"the server ended:\n{log.read_text()[-2000:]}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail(f"the server does not listen after 120 s:\n{log.read_text()[-2000:]}")


async def test_a_real_server_answers_counts_stops_and_can_be_left(address: str, model: Path) -> None:
    backend = OpenAIBackend(address, str(model), name="smollm2-135m-instruct", timeout_s=240.0)
    await backend.start()
    try:
        assert await backend.healthy() is True

        greedy = SamplingParameters(max_tokens=24, temperature=0.0)
        (answer,) = await backend.generate(QUESTION, greedy, 1, time.monotonic() + 240)  # loads and warms up
        (part,) = answer.parts
        assert isinstance(part, TextPart)
        assert "Paris" in part.text
        assert answer.prompt_tokens > 10
        assert 1 <= answer.completion_tokens <= 24
        assert answer.finish_reason is FinishReason.STOP

        short = SamplingParameters(max_tokens=2, temperature=0.7, seed=5)
        several = await backend.generate(QUESTION, short, 3, time.monotonic() + 60)
        assert [generation.finish_reason for generation in several] == [FinishReason.LENGTH] * 3
        assert [generation.completion_tokens for generation in several] == [2] * 3

        long = SamplingParameters(max_tokens=1000, temperature=0.0)
        began = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            await backend.generate(STORY, long, 1, began + 0.5)
        assert time.monotonic() - began < 3.0

        async with asyncio.timeout(60):
            (again,) = await backend.generate(QUESTION, greedy, 1, time.monotonic() + 60)
        assert "Paris" in str(again.parts)  # in other company bf16 may round to other words
    finally:
        await backend.stop()


async def test_a_real_server_refuses_a_model_it_does_not_have(address: str) -> None:
    backend = OpenAIBackend(address, "/no/such/model", timeout_s=60.0)
    await backend.start()
    try:
        with pytest.raises(BackendError) as caught:
            await backend.generate(QUESTION, SamplingParameters(max_tokens=2), 1, time.monotonic() + 60)
    finally:
        await backend.stop()
    assert caught.value.kind in ("bad_request", "server_error")
