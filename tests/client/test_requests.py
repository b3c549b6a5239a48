from __future__ import annotations

from typing import Any

import pytest

from wardgate import check_request, generate_request
from wardgate.v1 import guardrail_pb2
from wardgate.v1.conversation_pb2 import (
    ROLE_ASSISTANT,
    ROLE_SYSTEM,
    ROLE_TOOL,
    ROLE_USER,
    CallContext,
    Candidate,
    ContentPart,
    Message,
    ToolResult,
)

SECRET = "the moon is made of green cheese"


def test_turns_keep_their_order_and_may_be_mixed() -> None:
    tool = Message(role=ROLE_TOOL, parts=[ContentPart(tool_result=ToolResult(call_id="1", content="rain"))])
    request = check_request(
        [{"role": "system", "content": "be kind"}, "hello", {"role": "assistant", "content": "hi", "name": "bo"}, tool]
    )
    assert [message.role for message in request.messages] == [ROLE_SYSTEM, ROLE_USER, ROLE_ASSISTANT, ROLE_TOOL]
    assert [message.parts[0].text for message in request.messages] == ["be kind", "hello", "hi", ""]
    assert request.messages[2].name == "bo"
    assert request.messages[3] == tool


def test_one_dict_is_one_turn() -> None:
    assert [message.role for message in check_request({"role": "assistant", "content": "hi"}).messages] == [
        ROLE_ASSISTANT
    ]


def test_responses_may_be_texts_candidates_or_messages() -> None:
    parts = [ContentPart(text="b")]
    request = check_request(
        "hello", response="a", responses=[Candidate(parts=parts), Message(role=ROLE_ASSISTANT, parts=parts)]
    )
    assert [candidate.parts[0].text for candidate in request.candidates] == ["a", "b", "b"]


def test_an_empty_response_is_still_judged() -> None:
    assert len(check_request("hello", response="").candidates) == 1


def test_context_and_scope_are_taken_by_name() -> None:
    request = check_request("hello", context={"app": "shop", "locale": "de"}, scope="whole_conversation")
    assert request.context == CallContext(app="shop", locale="de")
    assert request.scope == guardrail_pb2.SCOPE_WHOLE_CONVERSATION
    same = generate_request("hello", context=request.context, scope="new_turns")
    assert same.context == request.context
    assert same.scope == guardrail_pb2.SCOPE_NEW_TURNS


def test_what_is_not_said_is_left_to_the_server() -> None:
    request = generate_request("hello")
    assert request.scope == guardrail_pb2.SCOPE_UNSPECIFIED
    assert request.sampling == guardrail_pb2.SamplingParameters()
    assert not request.HasField("context")


@pytest.mark.parametrize(
    "messages",
    [
        {"role": "user"},
        {"role": "narrator", "content": SECRET},
        {"role": "assistant", "content": SECRET, "tool_calls": []},
        {"role": "user", "content": [{"type": "text", "text": SECRET}]},
        [SECRET.encode()],
        [[SECRET]],
    ],
)
def test_what_would_be_lost_is_refused_without_repeating_it(messages: Any) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        check_request(messages)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"scope": "everything"}, ValueError),
        ({"context": {"colour": "red"}}, ValueError),
        ({"response": SECRET.encode()}, TypeError),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        check_request("hello", **arguments)
    assert SECRET not in str(caught.value)


def test_one_stop_text_is_not_taken_for_its_letters() -> None:
    with pytest.raises(TypeError, match="stop"):
        generate_request("hello", stop="END")
