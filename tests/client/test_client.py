from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

import wardgate
from tests.client.conftest import GuardrailServer
from wardgate import calls
from wardgate.v1 import conversation_pb2, guardrail_pb2
from wardgate.v1.status_pb2 import ItemStatus

SECRET = "the moon is made of green cheese"

Caller = Callable[..., Awaitable[Any]]


@pytest.fixture(params=["blocking", "asyncio"])
def call(request: pytest.FixtureRequest, guardrail: GuardrailServer) -> Caller:
    """Calls a method of either client by name; `settings` go to the client."""

    async def blocking(method: str, /, *args: Any, settings: dict[str, Any] | None = None, **kwargs: Any) -> Any:
        with wardgate.Client(guardrail.target, **(settings or {})) as client:
            return getattr(client, method)(*args, **kwargs)

    async def awaited(method: str, /, *args: Any, settings: dict[str, Any] | None = None, **kwargs: Any) -> Any:
        async with wardgate.AsyncClient(guardrail.target, **(settings or {})) as client:
            return await getattr(client, method)(*args, **kwargs)

    return blocking if request.param == "blocking" else awaited


def fails_with(code: grpc.StatusCode, times: int) -> Callable[[Message, grpc.ServicerContext], Message]:
    left = iter(range(times))

    def respond(request: Message, context: grpc.ServicerContext) -> Message:
        if next(left, None) is not None:
            context.abort(code, "not now")
        return guardrail_pb2.CheckResponse(request_id="answered")

    return respond


def aborts_with(code: int, message: str, *details: Message) -> Callable[[Message, grpc.ServicerContext], Message]:
    status = status_pb2.Status(code=code, message=message)
    for detail in details:
        status.details.add().Pack(detail)

    def respond(request: Message, context: grpc.ServicerContext) -> Message:
        context.abort_with_status(rpc_status.to_status(status))
        raise AssertionError("abort raises")

    return respond


async def test_a_text_is_sent_as_the_users_turn(call: Caller, guardrail: GuardrailServer) -> None:
    response = await call("check", SECRET, response="an answer", policy="strict@3", scores=True, request_id="r1")

    assert response.request_id == "r1"
    assert guardrail.calls[0].request == guardrail_pb2.CheckRequest(
        request_id="r1",
        policy="strict@3",
        messages=[
            conversation_pb2.Message(role=conversation_pb2.ROLE_USER, parts=[conversation_pb2.ContentPart(text=SECRET)])
        ],
        candidates=[conversation_pb2.Candidate(parts=[conversation_pb2.ContentPart(text="an answer")])],
        views=[guardrail_pb2.VIEW_SCORES],
    )


async def test_a_batch_takes_conversations_and_requests(call: Caller, guardrail: GuardrailServer) -> None:
    response = await call("batch_check", ["one", wardgate.check_request("two", request_id="r2")])

    assert [item.response.request_id for item in response.items] == ["", "r2"]
    assert [check.messages[0].parts[0].text for check in guardrail.calls[0].request.requests] == ["one", "two"]


async def test_generation_sends_only_the_sampling_that_was_asked_for(call: Caller, guardrail: GuardrailServer) -> None:
    await call("generate", "hello", temperature=0.0, stop=["END"])

    sampling = guardrail.calls[0].request.sampling
    assert sampling == guardrail_pb2.SamplingParameters(temperature=0.0, stop=["END"])
    assert sampling.HasField("temperature")
    assert not sampling.HasField("max_tokens")


async def test_an_explanation_is_asked_for_as_the_caller_says(call: Caller, guardrail: GuardrailServer) -> None:
    await call("explain", "hello", response="hi", head="response_reward", method="fast", budget=1.5, top_k=3)

    request = guardrail.calls[0].request
    assert (request.head, request.method, request.top_k) == ("response_reward", "fast", 3)
    assert request.budget.ToMilliseconds() == 1500
    assert request.response.parts[0].text == "hi"
    assert not request.HasField("attention")


async def test_a_check_shows_an_explanation_when_asked(call: Caller, guardrail: GuardrailServer) -> None:
    await call("check", "hello", scores=True, explanation=True)
    await call("generate", "hello", explanation=True)
    views = [list(recorded.request.views) for recorded in guardrail.calls]
    assert views == [[guardrail_pb2.VIEW_SCORES, guardrail_pb2.VIEW_EXPLANATION], [guardrail_pb2.VIEW_EXPLANATION]]


async def test_every_call_has_a_timeout_and_generation_a_longer_one(call: Caller, guardrail: GuardrailServer) -> None:
    settings = {"timeout": 7.0, "generate_timeout": 40.0}
    await call("check", "hello", settings=settings)
    await call("generate", "hello", settings=settings)
    await call("check", "hello", settings=settings, timeout=3.0)

    check, generate, chosen = (recorded.time_remaining_s for recorded in guardrail.calls)
    assert 3 < check <= 7.1
    assert 7.1 < generate <= 40.1
    assert chosen <= 3.1


async def test_a_call_that_takes_too_long_is_an_error_with_its_code(call: Caller, guardrail: GuardrailServer) -> None:
    def never(request: Message, context: grpc.ServicerContext) -> Message:
        gone = threading.Event()
        context.add_callback(gone.set)
        gone.wait(10)
        return guardrail_pb2.CheckResponse()

    guardrail.respond = never
    with pytest.raises(wardgate.WardgateError) as caught:
        await call("check", SECRET, timeout=0.2)
    assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_an_unavailable_server_is_asked_again(call: Caller, guardrail: GuardrailServer) -> None:
    guardrail.respond = fails_with(grpc.StatusCode.UNAVAILABLE, times=2)
    assert (await call("check", "hello")).request_id == "answered"
    assert len(guardrail.calls) == 3


async def test_it_gives_up_after_four_attempts(call: Caller, guardrail: GuardrailServer) -> None:
    guardrail.respond = fails_with(grpc.StatusCode.UNAVAILABLE, times=10)
    with pytest.raises(wardgate.WardgateError):
        await call("check", "hello")
    assert len(guardrail.calls) == 4


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAUTHENTICATED,
    ],
)
async def test_other_failures_are_not_asked_again(
    call: Caller, guardrail: GuardrailServer, code: grpc.StatusCode
) -> None:
    guardrail.respond = fails_with(code, times=1)
    with pytest.raises(wardgate.WardgateError) as caught:
        await call("check", "hello")
    assert caught.value.code is code
    assert caught.value.message == "not now"
    assert len(guardrail.calls) == 1


async def test_googles_error_details_are_read(call: Caller, guardrail: GuardrailServer) -> None:
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromMilliseconds(1500)
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field="messages[0].role", description="must be set")
    guardrail.respond = aborts_with(
        code_pb2.RESOURCE_EXHAUSTED,
        "too much",
        error_details_pb2.ErrorInfo(reason="OVERLOADED", domain="wardgate", metadata={"queue": "full"}),
        retry,
        bad,
        error_details_pb2.DebugInfo(detail="a kind that is not read"),
    )
    with pytest.raises(wardgate.WardgateError) as caught:
        await call("check", SECRET)

    error = caught.value
    assert (error.code, error.message) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "too much")
    assert (error.reason, error.retry_after_s) == ("OVERLOADED", 1.5)
    assert error.violations == (("messages[0].role", "must be set"),)
    assert str(error) == "RESOURCE_EXHAUSTED: too much; messages[0].role: must be set"


async def test_what_is_missing_is_named(call: Caller, guardrail: GuardrailServer) -> None:
    failure = error_details_pb2.PreconditionFailure()
    failure.violations.add(type="policy-version", subject="strict@1", description="is gone")
    guardrail.respond = aborts_with(
        code_pb2.NOT_FOUND,
        "no such policy",
        error_details_pb2.ResourceInfo(resource_type="policy", resource_name="x", description="known: default"),
        failure,
    )
    with pytest.raises(wardgate.WardgateError) as caught:
        await call("check", "hello")
    assert caught.value.violations == (("policy", "known: default"), ("strict@1", "is gone"))
    assert caught.value.reason == ""
    assert caught.value.retry_after_s is None


async def test_damaged_details_do_not_hide_the_error(call: Caller, guardrail: GuardrailServer) -> None:
    def respond(request: Message, context: grpc.ServicerContext) -> Message:
        context.set_trailing_metadata((("grpc-status-details-bin", b"\xff\xff\xff"),))
        context.abort(grpc.StatusCode.INTERNAL, "internal error")
        raise AssertionError("abort raises")

    guardrail.respond = respond
    with pytest.raises(wardgate.WardgateError) as caught:
        await call("check", "hello")
    assert (caught.value.code, caught.value.message) == (grpc.StatusCode.INTERNAL, "internal error")


def test_an_item_of_a_batch_has_the_same_error() -> None:
    status = ItemStatus(code=grpc.StatusCode.INVALID_ARGUMENT.value[0], message="wrong")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="INVALID_INPUT"))
    damaged = status.details.add()
    damaged.type_url, damaged.value = "type.googleapis.com/google.rpc.BadRequest", b"\xff"

    error = wardgate.WardgateError.from_status(status)
    assert (error.code, error.reason, error.violations) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_INPUT", ())


async def test_the_token_is_sent_to_this_machine(call: Caller, guardrail: GuardrailServer) -> None:
    tokens = iter(["first", "second"])
    await call("check", "hello", settings={"token": "fixed"})
    await call("check", "hello", settings={"token": lambda: next(tokens)})
    assert [recorded.metadata["authorization"] for recorded in guardrail.calls] == ["Bearer fixed", "Bearer first"]


async def test_without_a_token_none_is_sent(call: Caller, guardrail: GuardrailServer) -> None:
    await call("check", "hello")
    assert "authorization" not in guardrail.calls[0].metadata


async def test_health_is_asked_by_service(call: Caller) -> None:
    assert await call("healthy") is True
    assert await call("healthy", "reward-model") is False
    assert await call("healthy", "no-such-service") is False


async def test_nobody_there_is_not_healthy() -> None:
    with wardgate.Client("127.0.0.1:1") as client:
        assert client.healthy(timeout=2.0) is False


async def test_a_closed_client_makes_no_calls(guardrail: GuardrailServer) -> None:
    client = wardgate.Client(guardrail.target)
    client.close()
    with pytest.raises(ValueError, match="closed"):
        client.check("hello")
    other = wardgate.AsyncClient(guardrail.target)
    await other.close()
    with pytest.raises(ValueError, match="closed"):
        await other.check("hello")
    assert guardrail.calls == []


def test_an_asyncio_client_can_be_made_before_the_loop_runs(guardrail: GuardrailServer) -> None:
    client = wardgate.AsyncClient(guardrail.target)

    async def use() -> str:
        async with client:
            return (await client.check("hello", request_id="r9")).request_id

    assert asyncio.run(use()) == "r9"


@pytest.mark.parametrize("method", ["check", "batch_check", "generate", "explain", "healthy"])
def test_both_clients_show_the_same_signature(method: str) -> None:
    blocking, awaited = (getattr(kind, method) for kind in (wardgate.Client, wardgate.AsyncClient))
    assert inspect.signature(blocking) == inspect.signature(awaited)
    assert next(iter(inspect.signature(blocking).parameters)) == "self"
    assert "timeout" in inspect.signature(blocking).parameters
    assert inspect.iscoroutinefunction(awaited)


def test_nothing_shows_the_users_text_or_the_token() -> None:
    client = wardgate.Client("127.0.0.1:1", token="hush-hush")
    shown = repr(client) + repr(client._endpoint) + repr(calls.check(SECRET, response=SECRET))
    assert SECRET not in shown
    assert "hush-hush" not in shown
    assert "127.0.0.1:1" in repr(client)
    client.close()
