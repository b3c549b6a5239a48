"""What callers who do it wrong are told: a code, google.rpc details, and nothing of their own text."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2

from service.config import GrpcSettings, LimitSettings
from tests.fakes import (
    REWARD_POLICY,
    FakeBackend,
    FakeScorer,
    Running,
    ask,
    candidate,
    running_server,
    user,
    write_policy,
)
from tests.refusals import refusal
from wardgate.v1 import conversation_pb2 as conversation
from wardgate.v1 import decision_pb2 as decisions
from wardgate.v1 import guardrail_pb2 as guardrail

CANARY = "canary-51ed"


@pytest.fixture(autouse=True)
def _nothing_of_the_callers_text_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nor any traceback: callers must not be able to fill the log."""
    with caplog.at_level(logging.DEBUG):
        yield
    ours = [record for record in caplog.records if not record.name.startswith(("grpc._cython", "asyncio"))]
    assert CANARY not in caplog.text
    assert [record for record in ours if record.exc_info or "traceback" in record.__dict__] == []
    assert [record for record in ours if record.levelno >= logging.WARNING] == []


def message(**fields: object) -> conversation.Message:
    fields = {"role": conversation.ROLE_USER, "parts": [conversation.ContentPart(text=CANARY)]} | fields
    return conversation.Message(**fields)  # type: ignore[arg-type]


def check(**fields: object) -> guardrail.CheckRequest:
    return guardrail.CheckRequest(**({"messages": [message()]} | fields))  # type: ignore[arg-type]


def context(**fields: str) -> guardrail.CheckRequest:
    return check(context=conversation.CallContext(**fields))


def tool_call(**fields: str) -> guardrail.CheckRequest:
    part = conversation.ContentPart(tool_call=conversation.ToolCall(arguments=CANARY, **fields))
    return check(messages=[message(parts=[part])])


def role(value: int) -> guardrail.CheckRequest:
    """proto3 keeps numbers that no name belongs to."""
    wrong = message()
    wrong.role = value  # type: ignore[assignment]
    return check(messages=[wrong])


def scope(value: int) -> guardrail.CheckRequest:
    request = check()
    request.scope = value  # type: ignore[assignment]
    return request


def sampling(**fields: object) -> guardrail.GenerateRequest:
    return guardrail.GenerateRequest(
        messages=[message()],
        sampling=guardrail.SamplingParameters(**fields),  # type: ignore[arg-type]
    )


TOO_LONG = CANARY * 12
PART = conversation.ContentPart(text=CANARY)


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (guardrail.CheckRequest(), ["messages"]),
        (check(messages=[message()] * 513), ["messages"]),
        (check(messages=[message(parts=[])]), ["messages[0].parts"]),
        (check(messages=[message(parts=[PART] * 65)]), ["messages[0].parts"]),
        (check(messages=[message(parts=[conversation.ContentPart()])]), ["messages[0].parts[0]"]),
        (check(messages=[message(parts=[conversation.ContentPart(text="")])]), ["messages[0].parts[0].text"]),
        (role(conversation.ROLE_UNSPECIFIED), ["messages[0].role"]),
        (role(99), ["messages[0].role"]),
        (role(-1), ["messages[0].role"]),
        (check(messages=[message(), message(name=f"{CANARY}\n")]), ["messages[1].name"]),
        (check(messages=[message(name=f"{CANARY}\u202e")]), ["messages[0].name"]),
        (check(messages=[message(name=TOO_LONG)]), ["messages[0].name"]),
        (tool_call(call_id=TOO_LONG), ["messages[0].parts[0].tool_call.call_id"]),
        (tool_call(name=f"{CANARY}\x00"), ["messages[0].parts[0].tool_call.name"]),
        (check(candidates=[candidate(CANARY)] * 17), ["candidates"]),
        (check(candidates=[candidate(CANARY), conversation.Candidate()]), ["candidates[1].parts"]),
        (check(views=[guardrail.VIEW_SCORES] * 9), ["views"]),
        (check(views=[guardrail.VIEW_SCORES, guardrail.VIEW_UNSPECIFIED]), ["views[1]"]),
        (check(views=[77]), ["views[0]"]),
        (scope(77), ["scope"]),
        (check(request_id=f"{CANARY} x"), ["request_id"]),
        (check(request_id=f"{CANARY}\n"), ["request_id"]),
        (check(request_id=f"{CANARY}é"), ["request_id"]),
        (check(request_id=TOO_LONG), ["request_id"]),
        (check(policy=f"{CANARY}\r\n"), ["policy"]),
        (context(app=f"{CANARY}\t"), ["context.app"]),
        (context(route=f"{CANARY}\x7f"), ["context.route"]),
        (context(tenant=TOO_LONG), ["context.tenant"]),
        (context(session_id=f"{CANARY}\u2028"), ["context.session_id"]),
        (context(user_hash=f"{CANARY}\x00"), ["context.user_hash"]),
        (context(locale=CANARY * 4), ["context.locale"]),
        (sampling(max_tokens=0), ["sampling.max_tokens"]),
        (sampling(max_tokens=1025), ["sampling.max_tokens"]),
        (sampling(temperature=math.nan), ["sampling.temperature"]),
        (sampling(temperature=math.inf), ["sampling.temperature"]),
        (sampling(temperature=-0.1), ["sampling.temperature"]),
        (sampling(temperature=2.1), ["sampling.temperature"]),
        (sampling(top_p=0.0), ["sampling.top_p"]),
        (sampling(top_p=math.nan), ["sampling.top_p"]),
        (sampling(top_p=1.1), ["sampling.top_p"]),
        (sampling(top_k=0), ["sampling.top_k"]),
        (sampling(seed=2**63), ["sampling.seed"]),
        (sampling(stop=[CANARY] * 5), ["sampling.stop"]),
        (sampling(stop=[""]), ["sampling.stop"]),
        (sampling(stop=[CANARY * 6]), ["sampling.stop"]),
        (
            check(messages=[message(parts=[])], request_id=" ", policy="\n"),
            ["request_id", "policy", "messages[0].parts"],
        ),
    ],
)
async def test_every_wrong_field_is_named(
    tmp_path: Path, request_: guardrail.CheckRequest | guardrail.GenerateRequest, fields: list[str]
) -> None:
    write_policy(tmp_path)
    scorer = FakeScorer()
    async with running_server(tmp_path, scorer, FakeBackend()) as server:
        refused = await refusal(send(server, request_))
        counted = server.metric("wardgate_rejections_total", reason="invalid_input")
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_INPUT")
    assert refused.fields == fields
    assert CANARY not in refused.everything
    assert scorer.calls == []
    assert counted == 1


async def send(
    server: Running, request: guardrail.CheckRequest | guardrail.GenerateRequest
) -> guardrail.CheckResponse | guardrail.GenerateResponse:
    if isinstance(request, guardrail.CheckRequest):
        return await server.check(request)
    return await server.generate(request)


async def test_a_request_wrong_in_thousands_of_places_still_gets_its_answer(tmp_path: Path) -> None:
    """The details travel in trailers, which transports keep under 8 KiB."""
    write_policy(tmp_path)
    bad = message(role=0, name="\n", parts=[conversation.ContentPart()] * 64)
    async with running_server(tmp_path) as server:
        refused = await refusal(server.check(check(messages=[bad] * 512)))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.fields[:2] == ["messages[0].role", "messages[0].name"]
    assert "more" in refused.detail(error_details_pb2.BadRequest).field_violations[-1].description


async def test_an_unknown_policy_among_hundreds_still_gets_its_answer(tmp_path: Path) -> None:
    write_policy(tmp_path)
    for index in range(200):
        name = f"{index:03}-{'x' * 60}"
        write_policy(tmp_path, REWARD_POLICY.replace("name: default", f"name: {name}"), f"{index}.yaml")
    async with running_server(tmp_path) as server:
        refused = await refusal(server.check(ask("hi", policy="nope")))
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "UNKNOWN_NAME")


async def test_an_unknown_policy_is_not_found_and_the_known_ones_are_listed(tmp_path: Path) -> None:
    write_policy(tmp_path)
    async with running_server(tmp_path) as server:
        refused = await refusal(server.check(ask("hi", policy=CANARY)))
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "UNKNOWN_NAME")
    found = refused.detail(error_details_pb2.ResourceInfo)
    assert (found.resource_type, "default" in found.description) == ("policy", True)
    assert CANARY not in refused.everything


async def test_more_text_than_is_taken_is_refused_before_it_is_scored(tmp_path: Path) -> None:
    write_policy(tmp_path)
    scorer = FakeScorer()
    async with running_server(tmp_path, scorer, limits=LimitSettings(max_text_chars=20)) as server:
        refused = await refusal(server.check(ask(CANARY, "xxxxxxxxxx")))
        fits = await server.check(ask("x" * 10, "y" * 10))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "TOO_LARGE")
    assert "21 characters" in refused.message
    assert "20 are taken" in refused.message
    assert fits.decision.action == decisions.ACTION_ALLOW
    assert len(scorer.calls) == 1


async def test_a_million_characters_are_refused_before_they_are_scored(tmp_path: Path) -> None:
    write_policy(tmp_path)
    scorer = FakeScorer()
    async with running_server(tmp_path, scorer) as server:
        refused = await refusal(server.check(ask("x" * 10**6)))
    assert refused.reason == "TOO_LARGE"
    assert scorer.calls == []


async def test_a_hundred_thousand_messages_are_refused(tmp_path: Path) -> None:
    write_policy(tmp_path)
    async with running_server(tmp_path) as server:
        refused = await refusal(server.check(guardrail.CheckRequest(messages=[user("x")] * 100_000)))
    assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["messages"])


@pytest.mark.parametrize(("excess", "ours"), [(1, True), (1 << 20, False)])
async def test_a_message_of_too_many_bytes_is_resource_exhausted(tmp_path: Path, excess: int, ours: bool) -> None:
    """A little too many are refused by us, with details; far too many already by the transport."""
    write_policy(tmp_path)
    scorer = FakeScorer()
    async with running_server(tmp_path, scorer, grpc_settings=GrpcSettings(port=0, max_message_bytes=4096)) as server:
        frame = len(ask("x" * 4000).SerializeToString()) - 4000
        refused = await refusal(server.check(ask("x" * (4096 + excess - frame))))
        fits = await server.check(ask("x" * (4096 - frame)))
    assert refused.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert fits.decision.action == decisions.ACTION_ALLOW
    assert bool(refused.details) is ours
    if ours:
        assert refused.reason == "MESSAGE_TOO_LARGE"
        assert "grpc.max_message_bytes" in refused.message
    assert len(scorer.calls) == 1


def surrogates() -> bytes:
    """Valid but for its text, which encodes lone surrogates as no UTF-8 does."""
    raw = ask("A" * 6).SerializeToString()
    return raw.replace(b"A" * 6, b"\xed\xa0\x80\xed\xbf\xbf")


@pytest.mark.parametrize(
    "raw",
    [
        CANARY.encode() + b"\xff",
        b"\xff" * 100,
        b"\x00",
        ask(CANARY).SerializeToString()[:-3],
        surrogates(),
        ask("A" * 2).SerializeToString().replace(b"AA", b"\xc0\x80"),  # an overlong NUL
        ask("A" * 2).SerializeToString().replace(b"AA", b"\xff\xfe"),
    ],
)
@pytest.mark.parametrize("method", ["Check", "BatchCheck", "Generate"])
async def test_bytes_that_are_no_message_are_refused(tmp_path: Path, method: str, raw: bytes) -> None:
    if method == "BatchCheck":
        raw = b"\x0a" + bytes([len(raw)]) + raw
    write_policy(tmp_path)
    async with running_server(tmp_path, backend=FakeBackend()) as server:
        refused = await refusal(server.call(method, raw, guardrail.CheckResponse))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_INPUT")
    assert refused.fields == [""]
    assert CANARY not in refused.everything


async def test_an_empty_message_lacks_its_fields(tmp_path: Path) -> None:
    write_policy(tmp_path)
    async with running_server(tmp_path, backend=FakeBackend()) as server:
        refusals = [await refusal(server.call(m, b"", guardrail.CheckResponse)) for m in ("Check", "Generate")]
    assert [refused.fields for refused in refusals] == [["messages"], ["messages"]]


async def test_fields_of_a_newer_contract_are_ignored(tmp_path: Path) -> None:
    write_policy(tmp_path)
    async with running_server(tmp_path) as server:
        raw = ask("hi").SerializeToString() + b"\xfa\x7f\x05hello"
        reply = await server.call("Check", raw, guardrail.CheckResponse)
    assert reply.decision.action == decisions.ACTION_ALLOW


async def test_nul_and_other_controls_inside_text_are_judged_like_any_text(tmp_path: Path) -> None:
    write_policy(tmp_path)
    scorer = FakeScorer()
    async with running_server(tmp_path, scorer) as server:
        reply = await server.check(ask("a\x00\x01 bomb\x1b[0m\U0010ffff"))
    assert reply.decision.action == decisions.ACTION_BLOCK
    assert scorer.calls[0][0].prompt.original == "a\x00\x01 bomb\x1b[0m\U0010ffff"


async def test_an_unknown_method_is_unimplemented(tmp_path: Path) -> None:
    write_policy(tmp_path)
    async with running_server(tmp_path) as server:
        refused = await refusal(server.call("Nothing", b"", guardrail.CheckResponse))
    assert refused.code is grpc.StatusCode.UNIMPLEMENTED


class DeadlineScorer(FakeScorer):
    left_s: float = 0.0

    async def score(self, inputs, deadline):  # type: ignore[no-untyped-def]
        self.left_s = deadline - time.monotonic()
        return await super().score(inputs, deadline)


@pytest.mark.parametrize(("given_s", "left_s"), [(None, 30.0), (10.0, 10.0), (4000.0, 300.0)])
async def test_the_deadline_is_the_callers_within_the_servers_bounds(
    tmp_path: Path, given_s: float | None, left_s: float
) -> None:
    write_policy(tmp_path)
    scorer = DeadlineScorer()
    async with running_server(tmp_path, scorer) as server:
        await server.check(ask("hi"), timeout=given_s)
    # gRPC sends a timeout in few digits, rounded up
    assert left_s - 2 < scorer.left_s <= left_s * 1.02


async def test_a_deadline_can_be_required(tmp_path: Path) -> None:
    write_policy(tmp_path)
    async with running_server(tmp_path, grpc_settings=GrpcSettings(port=0, require_deadline=True)) as server:
        refused = await refusal(server.check(ask("hi"), timeout=None))
        reply = await server.check(ask("hi"), timeout=10)
    assert refused.code is grpc.StatusCode.FAILED_PRECONDITION
    (violation,) = refused.detail(error_details_pb2.PreconditionFailure).violations
    assert (violation.type, violation.subject) == ("DEADLINE", "deadline")
    assert reply.decision.action == decisions.ACTION_ALLOW


@pytest.mark.parametrize("given_s", [0.0, 0.000001, 0.05])
async def test_a_deadline_too_short_is_deadline_exceeded(tmp_path: Path, given_s: float) -> None:
    write_policy(tmp_path)
    scorer = FakeScorer(before=lambda _: asyncio.Event().wait())
    async with running_server(tmp_path, scorer) as server:
        refused = await refusal(server.check(ask("hi"), timeout=given_s))
    assert refused.code is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_work_past_the_servers_own_deadline_is_deadline_exceeded_with_details(tmp_path: Path) -> None:
    write_policy(tmp_path)
    scorer = FakeScorer(before=lambda _: asyncio.Event().wait())
    async with running_server(tmp_path, scorer, grpc_settings=GrpcSettings(port=0, default_deadline_s=0.1)) as server:
        refused = await refusal(server.check(ask(CANARY), timeout=None))
    assert (refused.code, refused.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
    assert CANARY not in refused.everything


async def test_errors_are_counted_by_code(tmp_path: Path) -> None:
    write_policy(tmp_path)
    labels = {"grpc_service": "wardgate.v1.GuardrailService", "grpc_method": "Check"}
    async with running_server(tmp_path) as server:
        await server.check(ask("hi"))
        await refusal(server.check(guardrail.CheckRequest()))
        started = server.metric("grpc_server_started_total", **labels)
        ok = server.metric("grpc_server_handled_total", **labels, grpc_code="OK")
        refused = server.metric("grpc_server_handled_total", **labels, grpc_code="INVALID_ARGUMENT")
    assert (started, ok, refused) == (2, 1, 1)
