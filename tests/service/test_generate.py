from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2

from guards.errors import BackendError, DeadlineExceeded, InvalidInput
from guards.types import Message, Role, TextPart, ToolCall
from service.backends.base import FinishReason, Generation, SamplingParameters
from service.config import LimitSettings
from tests.fakes import REWARD_POLICY, FakeBackend, FakeScorer, assistant, running_server, user, write_policy
from tests.refusals import refusal
from tests.waiting import until
from wardgate.v1 import conversation_pb2 as conversation
from wardgate.v1 import decision_pb2 as decisions
from wardgate.v1 import guardrail_pb2 as guardrail

BEST_OF_THREE = REWARD_POLICY + "generate: {candidates: 3}\n"
REGENERATING = REWARD_POLICY.replace("head: response_reward\n    thresholds: {block: 0.8, flag: 0.5}",
                                     "head: response_reward\n    thresholds: {regenerate: 0.8}")  # fmt: skip
SECRETIVE = """
name: default
version: "1"
request: [{kind: patterns, name: secret, category: secret, patterns: ["secret-[0-9]+"], action: redact}]
response: [{kind: patterns, name: leak, category: leak, patterns: ["secret-[0-9]+"], action: redact,
            replacement: "***"}]
"""


def prompt(*texts: str, **more: object) -> guardrail.GenerateRequest:
    return guardrail.GenerateRequest(messages=[user(text) for text in texts], **more)  # type: ignore[arg-type]


def text_of(reply: guardrail.GenerateResponse) -> str:
    return reply.message.parts[0].text


async def test_an_allowed_answer_reaches_the_caller(tmp_path: Path) -> None:
    write_policy(tmp_path)
    async with running_server(tmp_path, backend=FakeBackend()) as server:
        reply = await server.generate(prompt("hello", request_id="mine"))
    assert reply.request_id == "mine"
    assert (text_of(reply), reply.message.role) == ("Hello there.", conversation.ROLE_ASSISTANT)
    assert reply.finish_reason == guardrail.FINISH_REASON_STOP
    assert reply.decision.action == decisions.ACTION_ALLOW
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.attempts) == (7, 3, 1)
    assert reply.model == "fake-model"
    assert reply.reward == pytest.approx(3.932)
    assert [(guard.guard, guard.status) for guard in reply.guards] == [
        ("request-risk", decisions.GUARD_STATUS_OK),
        ("response-risk", decisions.GUARD_STATUS_OK),
    ]


async def test_a_blocked_request_never_reaches_the_model(tmp_path: Path) -> None:
    write_policy(tmp_path)
    backend = FakeBackend()
    async with running_server(tmp_path, backend=backend) as server:
        reply = await server.generate(prompt("a bomb", context=conversation.CallContext(locale="de")))
    assert backend.asked == []
    assert (text_of(reply), reply.finish_reason) == ("Das geht nicht.", guardrail.FINISH_REASON_CONTENT_FILTER)
    assert reply.decision.action == decisions.ACTION_BLOCK
    assert (reply.attempts, reply.usage.completion_tokens, reply.HasField("reward")) == (0, 0, False)
    assert [(guard.guard, guard.status) for guard in reply.guards] == [
        ("request-risk", decisions.GUARD_STATUS_OK),
        ("response-risk", decisions.GUARD_STATUS_SKIPPED),
    ]


async def test_a_blocked_answer_is_replaced_by_the_safe_message(tmp_path: Path) -> None:
    write_policy(tmp_path)
    async with running_server(tmp_path, backend=FakeBackend(["a bomb needs"])) as server:
        reply = await server.generate(prompt("hello"))
    assert text_of(reply) == reply.decision.safe_message == "I can't help with that."
    assert reply.finish_reason == guardrail.FINISH_REASON_CONTENT_FILTER
    assert (reply.decision.action, reply.decision.reason_code) == (decisions.ACTION_BLOCK, "response-risk")
    assert (reply.attempts, reply.usage.completion_tokens, reply.HasField("reward")) == (1, 3, False)
    assert b"needs" not in reply.SerializeToString()


async def test_the_model_reads_the_callers_own_text_not_the_normalized_one(tmp_path: Path) -> None:
    write_policy(tmp_path)
    backend = FakeBackend()
    scorer = FakeScorer()
    told = "h\u200bell\u043e \ufb01ne\u0000"
    async with running_server(tmp_path, scorer, backend) as server:
        request = guardrail.GenerateRequest(messages=[user("before"), assistant("yes"), user(told)])
        await server.generate(request)
    ((messages, _),) = backend.asked
    assert [message.text for message in messages] == ["before", "yes", told]
    assert [message.role for message in messages] == [Role.USER, Role.ASSISTANT, Role.USER]
    assert scorer.calls[0][0].prompt.text != told


async def test_a_redacted_request_reaches_the_model_redacted(tmp_path: Path) -> None:
    write_policy(tmp_path, SECRETIVE)
    backend = FakeBackend(["fine"])
    async with running_server(tmp_path, backend=backend) as server:
        reply = await server.generate(prompt("use secret-1 and secret-22, please", "fine"))
    ((messages, _),) = backend.asked
    assert [message.text for message in messages] == ["use [REDACTED] and [REDACTED], please", "fine"]
    assert (text_of(reply), reply.decision.action) == ("fine", decisions.ACTION_REDACT)


async def test_what_an_earlier_turn_repeats_reaches_the_model_redacted_too(tmp_path: Path) -> None:
    write_policy(tmp_path, SECRETIVE)
    backend = FakeBackend()
    turns = [user("it is secret-1"), assistant("I know secret-2 too"), user("now with secret-3")]
    async with running_server(tmp_path, backend=backend) as server:
        reply = await server.generate(guardrail.GenerateRequest(messages=turns))
    (messages, _) = backend.asked[0]
    read = [message.text for message in messages]
    assert read == ["it is [REDACTED]", "I know [REDACTED] too", "now with [REDACTED]"]
    assert reply.decision.action == decisions.ACTION_REDACT
    assert {span.message for finding in reply.decision.findings for span in finding.spans} == {0, 1, 2}


async def test_what_an_earlier_turn_said_blocks_nothing_anew(tmp_path: Path) -> None:
    write_policy(tmp_path, SECRETIVE.replace("action: redact}]\nresponse", "action: block}]\nresponse"))
    backend = FakeBackend()
    turns = [user("it is secret-1"), assistant("no"), user("never mind then")]
    async with running_server(tmp_path, backend=backend) as server:
        reply = await server.generate(guardrail.GenerateRequest(messages=turns))
    assert reply.decision.action == decisions.ACTION_ALLOW
    assert len(backend.asked) == 1


async def test_a_redacted_answer_leaves_redacted(tmp_path: Path) -> None:
    write_policy(tmp_path, SECRETIVE)
    async with running_server(tmp_path, backend=FakeBackend(["it is secret-7."])) as server:
        reply = await server.generate(prompt("hello"))
    assert text_of(reply) == "it is ***."
    assert reply.finish_reason == guardrail.FINISH_REASON_STOP
    assert b"secret-7" not in reply.SerializeToString()


async def test_best_of_n_answers_with_the_best_that_is_allowed(tmp_path: Path) -> None:
    write_policy(tmp_path, BEST_OF_THREE)
    backend = FakeBackend(["short", "a bomb and many more words to be longest", "a bit longer"])
    scorer = FakeScorer()
    async with running_server(tmp_path, scorer, backend) as server:
        reply = await server.generate(prompt("hello"))
    assert text_of(reply) == "a bit longer"
    assert reply.decision.action == decisions.ACTION_ALLOW
    assert (reply.attempts, reply.usage.prompt_tokens, reply.usage.completion_tokens) == (3, 21, 9)
    assert [len(call) for call in scorer.calls] == [1, 3]  # the prompt; then all candidates together


async def test_a_regenerate_verdict_asks_again_with_another_seed(tmp_path: Path) -> None:
    write_policy(tmp_path, REGENERATING)
    backend = FakeBackend(["a bomb", "better"])
    async with running_server(tmp_path, backend=backend) as server:
        reply = await server.generate(prompt("hello", sampling=guardrail.SamplingParameters(seed=41)))
    assert text_of(reply) == "better"
    assert [sampling.seed for _, sampling in backend.asked] == [41, 42]
    assert (reply.attempts, reply.usage.prompt_tokens, reply.usage.completion_tokens) == (2, 14, 6)


async def test_a_model_that_never_does_better_is_blocked(tmp_path: Path) -> None:
    write_policy(tmp_path, REGENERATING + "generate: {candidates: 2, max_regenerations: 2}\n")
    backend = FakeBackend(["a bomb"])
    async with running_server(tmp_path, backend=backend) as server:
        reply = await server.generate(prompt("hello", sampling=guardrail.SamplingParameters(seed=0)))
    assert [sampling.seed for _, sampling in backend.asked] == [0, 2, 4]
    assert (reply.decision.action, reply.decision.reason_code) == (decisions.ACTION_BLOCK, "regenerations-spent")
    assert text_of(reply) == "I can't help with that."
    assert (reply.attempts, reply.usage.completion_tokens) == (6, 18)


async def test_without_a_wrapped_model_generate_says_what_to_configure(tmp_path: Path) -> None:
    write_policy(tmp_path)
    scorer = FakeScorer()
    async with running_server(tmp_path, scorer) as server:
        refused = await refusal(server.generate(prompt("hello")))
    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "PRECONDITION_FAILED")
    assert refused.detail(error_details_pb2.PreconditionFailure).violations[0].subject == "backend"
    assert scorer.calls == []


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (BackendError("x", "unreachable"), grpc.StatusCode.UNAVAILABLE, "BACKEND"),
        (BackendError("x", "timeout"), grpc.StatusCode.UNAVAILABLE, "BACKEND"),
        (BackendError("x", "rate_limited", 7), grpc.StatusCode.UNAVAILABLE, "BACKEND"),
        (BackendError("x", "server_error"), grpc.StatusCode.UNAVAILABLE, "BACKEND"),
        (BackendError("x", "bad_reply"), grpc.StatusCode.UNAVAILABLE, "BACKEND"),
        (BackendError("x", "unauthorized"), grpc.StatusCode.FAILED_PRECONDITION, "BACKEND"),
        (BackendError("x", "bad_request"), grpc.StatusCode.FAILED_PRECONDITION, "BACKEND"),
        (DeadlineExceeded("x"), grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"),
        (InvalidInput("the prompt does not fit"), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_INPUT"),
    ],
)
async def test_a_failing_model_is_an_error_of_its_kind(
    tmp_path: Path, error: Exception, code: grpc.StatusCode, reason: str
) -> None:
    def fail() -> None:
        raise error

    write_policy(tmp_path)
    async with running_server(tmp_path, backend=FakeBackend(before=fail)) as server:
        refused = await refusal(server.generate(prompt("hello")))
        counted = server.metric("wardgate_backend_errors_total", kind=getattr(error, "kind", "none"))
    assert (refused.code, refused.reason) == (code, reason)
    assert counted == isinstance(error, BackendError)
    if code is grpc.StatusCode.UNAVAILABLE:
        delay = refused.detail(error_details_pb2.RetryInfo).retry_delay
        assert delay.seconds == getattr(error, "retry_after_s", None)
    if code is grpc.StatusCode.FAILED_PRECONDITION:
        (violation,) = refused.detail(error_details_pb2.PreconditionFailure).violations
        assert (violation.type, violation.subject) == ("BACKEND", getattr(error, "kind", None))


@pytest.mark.parametrize("deadline_s", [None, 0.2])
async def test_a_caller_that_leaves_stops_the_model(tmp_path: Path, deadline_s: float | None) -> None:
    write_policy(tmp_path)
    asked, stopped = asyncio.Event(), asyncio.Event()

    async def write_for_ever() -> None:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    backend = FakeBackend(before=lambda: write_for_ever())
    async with running_server(tmp_path, backend=backend) as server:
        call = asyncio.ensure_future(server.generate(prompt("hello"), timeout=deadline_s))
        async with asyncio.timeout(5):
            await asked.wait()
            if deadline_s is None:
                call.cancel()
            await stopped.wait()
        with pytest.raises((asyncio.CancelledError, grpc.aio.AioRpcError)):
            await call
        await until(lambda: server.admission.in_flight == 0)
    assert backend.cancelled == 1


async def test_sampling_left_unset_takes_the_servers_defaults(tmp_path: Path) -> None:
    write_policy(tmp_path)
    backend = FakeBackend()
    asked = guardrail.SamplingParameters(max_tokens=5, temperature=0.0, top_p=0.5, top_k=3, stop=["\n"], seed=9)
    async with running_server(tmp_path, backend=backend, limits=LimitSettings(max_output_tokens=32)) as server:
        await server.generate(prompt("hello"))
        await server.generate(prompt("hello", sampling=asked))
    assert [sampling for _, sampling in backend.asked] == [
        SamplingParameters(max_tokens=32),
        SamplingParameters(max_tokens=5, temperature=0.0, top_p=0.5, top_k=3, stop=("\n",), seed=9),
    ]


async def test_scores_of_both_sides_come_when_asked_for(tmp_path: Path) -> None:
    write_policy(tmp_path, BEST_OF_THREE)
    async with running_server(tmp_path, backend=FakeBackend()) as server:
        reply = await server.generate(prompt("hello", views=[guardrail.VIEW_SCORES]))
    assert [(score.head, score.candidate) for score in reply.scores] == [
        ("request_risk", 0),
        ("response_reward", 0),
        ("response_reward", 1),
        ("response_reward", 2),
    ]


async def test_a_shadow_policy_lets_everything_through_and_says_what_it_would_do(tmp_path: Path) -> None:
    write_policy(tmp_path, REWARD_POLICY + "enforcement: shadow\n")
    async with running_server(tmp_path, backend=FakeBackend(["a bomb needs"])) as server:
        reply = await server.generate(prompt("hello"))
    assert text_of(reply) == "a bomb needs"
    assert reply.finish_reason == guardrail.FINISH_REASON_STOP
    assert (reply.decision.action, reply.decision.would_action) == (decisions.ACTION_ALLOW, decisions.ACTION_BLOCK)


@dataclass
class UpstreamFilter(FakeBackend):
    """A model whose own provider filters."""

    said_parts: tuple[TextPart | ToolCall, ...] = ()
    finish: FinishReason = FinishReason.CONTENT_FILTER

    async def generate(
        self, messages: Sequence[Message], sampling: SamplingParameters, n: int, deadline: float
    ) -> tuple[Generation, ...]:
        return (Generation(self.said_parts, self.finish, 7, 0),)


@pytest.mark.parametrize("parts", [(), (TextPart(""),), (TextPart("half an ans"),)])
async def test_an_answer_its_provider_filtered_says_so(tmp_path: Path, parts: tuple[TextPart, ...]) -> None:
    write_policy(tmp_path)
    async with running_server(tmp_path, backend=UpstreamFilter(said_parts=parts)) as server:
        reply = await server.generate(prompt("hello"))
    assert reply.finish_reason == guardrail.FINISH_REASON_CONTENT_FILTER
    assert reply.decision.action == decisions.ACTION_ALLOW
    assert [part.text for part in reply.message.parts] == [part.text for part in parts]


async def test_tool_calls_the_model_writes_are_judged_and_redacted(tmp_path: Path) -> None:
    write_policy(tmp_path, SECRETIVE)
    call = ToolCall("c1", "send", '{"key": "secret-9"}')
    backend = UpstreamFilter(said_parts=(TextPart("sending"), call), finish=FinishReason.STOP)
    async with running_server(tmp_path, backend=backend) as server:
        reply = await server.generate(prompt("hello"))
    said = reply.message.parts[1].tool_call
    assert (said.call_id, said.name, said.arguments) == ("c1", "send", '{"key": "***"}')
