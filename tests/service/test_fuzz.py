"""Whatever bytes arrive, the answer is a decision or the caller's fault: never UNKNOWN or INTERNAL."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from google.protobuf.message import Message as ProtoMessage
from google.rpc import code_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from guards.errors import WardgateError
from service.backends.base import SamplingParameters
from service.config import LimitSettings
from service.convert import check_call, generate_call, parse
from service.interceptors import status_of
from tests.fakes import FakeBackend, ask, assistant, candidate, running_server, user, write_policy
from wardgate.v1 import conversation_pb2 as conversation
from wardgate.v1 import guardrail_pb2 as guardrail

LIMITS = LimitSettings(max_text_chars=2000)
FAULTS = {code_pb2.INVALID_ARGUMENT, code_pb2.RESOURCE_EXHAUSTED}

VALID = [
    ask("hello", "one", "two", request_id="r", policy="default", views=[guardrail.VIEW_SCORES]),
    guardrail.CheckRequest(
        messages=[
            user("h\u0435llo \U0001f600\u200b"),
            assistant("yes"),
            conversation.Message(
                role=conversation.ROLE_TOOL,
                name="tool",
                parts=[
                    conversation.ContentPart(tool_result=conversation.ToolResult(call_id="1", content="sunny")),
                    conversation.ContentPart(tool_call=conversation.ToolCall(call_id="2", name="x", arguments="{}")),
                ],
            ),
        ],
        candidates=[candidate("fine")],
        context=conversation.CallContext(app="a", route="/r", tenant="t", session_id="s", user_hash="u", locale="de"),
        scope=guardrail.SCOPE_WHOLE_CONVERSATION,
    ),
    guardrail.GenerateRequest(
        messages=[user("hello")],
        sampling=guardrail.SamplingParameters(max_tokens=5, temperature=0.5, top_p=0.9, top_k=4, stop=["x"], seed=7),
    ),
    guardrail.BatchCheckRequest(requests=[ask("hello"), ask("bomb", "knife")]),
]
RAW = [message.SerializeToString() for message in VALID]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A valid request with bytes changed, cut out, doubled or put in."""
    raw = bytearray(draw(st.sampled_from(RAW)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(raw) - 1)))
        match draw(st.integers(0, 4)):
            case 0 if raw:
                raw[at] = draw(st.integers(0, 255))
            case 1:
                del raw[at : at + draw(st.integers(1, 8))]
            case 2:
                raw[at:at] = draw(st.binary(min_size=1, max_size=6))
            case 3:
                raw[at:at] = raw[at : at + draw(st.integers(1, 20))]
            case _:
                del raw[at:]
    return bytes(raw)


some_bytes = st.one_of(st.binary(max_size=200), mutated(), mutated())


def converted(raw: bytes) -> None:
    """As the servicer does: each request as itself, those of a batch one by one."""
    deadline = time.monotonic() + 10
    check_call(parse(guardrail.CheckRequest, raw, 1 << 20), LIMITS, deadline)


def converted_generate(raw: bytes) -> None:
    request = parse(guardrail.GenerateRequest, raw, 1 << 20)
    call = generate_call(request, LIMITS, SamplingParameters(), time.monotonic() + 10)
    assert 1 <= call.sampling.max_tokens <= LIMITS.max_output_tokens
    assert 0 <= call.sampling.temperature <= 2
    assert 0 < call.sampling.top_p <= 1


def converted_batch(raw: bytes) -> None:
    for item in parse(guardrail.BatchCheckRequest, raw, 1 << 20).requests:
        check_call(item, LIMITS, time.monotonic() + 10)


@pytest.mark.parametrize("convert", [converted, converted_generate, converted_batch])
@settings(max_examples=1500, deadline=None)
@given(raw=some_bytes)
def test_any_bytes_are_a_request_or_the_callers_fault(convert: Callable[[bytes], None], raw: bytes) -> None:
    try:
        convert(raw)
    except WardgateError as error:
        status = status_of(error)
        assert status.code in FAULTS
        assert len(status.SerializeToString()) < 6000  # arrives


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=40), min_size=1, max_size=4), st.lists(st.text(max_size=10), max_size=3))
def test_every_text_survives_the_way_in(texts: list[str], names: list[str]) -> None:
    request = guardrail.CheckRequest(messages=[user(text) for text in texts])
    for message, name in zip(request.messages, names, strict=False):
        message.name = name if name.isprintable() else ""
    call = check_call(parse(guardrail.CheckRequest, request.SerializeToString(), 1 << 20), LIMITS, 0.0)
    assert [message.text for message in call.messages] == texts
    assert [message.name for message in call.messages] == [message.name for message in request.messages]


ANSWERS = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}
_REPLIES: dict[str, type[ProtoMessage]] = {
    "Check": guardrail.CheckResponse,
    "BatchCheck": guardrail.BatchCheckResponse,
    "Generate": guardrail.GenerateResponse,
}


def test_any_bytes_on_the_wire_are_answered(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One server for all of them, so that what one leaves behind would meet the next."""
    write_policy(tmp_path)
    seen: set[grpc.StatusCode] = set()

    async def code(call: grpc.aio.UnaryUnaryCall[bytes, ProtoMessage]) -> grpc.StatusCode:
        return await call.code()

    with asyncio.Runner() as runner:
        scope = running_server(tmp_path, backend=FakeBackend(), limits=LIMITS)
        server = runner.run(scope.__aenter__())

        @settings(max_examples=300, deadline=None)
        @given(st.sampled_from(sorted(_REPLIES)), some_bytes)
        def send(method: str, raw: bytes) -> None:
            async def sent() -> grpc.StatusCode:
                return await code(server.call(method, raw, _REPLIES[method]))

            answer = runner.run(sent())
            seen.add(answer)
            assert answer in ANSWERS

        try:
            send()
        finally:
            runner.run(scope.__aexit__(None, None, None))
    assert {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT} <= seen
    assert [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []
