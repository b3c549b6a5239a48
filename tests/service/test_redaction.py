from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from guards.types import Action, Candidate, Cause, Decision, Enforcement, Span, TextPart, ToolResult
from service.redaction import redact_candidate
from tests.fakes import FakeScorer, ask, assistant, running_server, user, write_policy
from wardgate.v1 import conversation_pb2 as conversation
from wardgate.v1 import decision_pb2 as decisions
from wardgate.v1 import guardrail_pb2 as guardrail

BOTH_SIDES = """
name: default
version: "1"
request: &guards
  - {kind: patterns, name: key, category: key, patterns: ["key-[0-9]+"], action: redact, replacement: "<key>"}
  - {kind: patterns, name: pin, category: pin, patterns: ["[0-9]+ pin", "pin=[0-9]+"], action: redact}
response: *guards
"""


async def test_messages_come_back_redacted_and_otherwise_untouched(tmp_path: Path) -> None:
    write_policy(tmp_path, BOTH_SIDES)
    before = conversation.Message(
        role=conversation.ROLE_USER, name="Ann", parts=[conversation.ContentPart(text="my key-1, \u200bok")]
    )
    async with running_server(tmp_path) as server:
        reply = await server.check(guardrail.CheckRequest(messages=[before, user("h\u0435llo\u200b")]))
    assert reply.decision.action == decisions.ACTION_REDACT
    assert reply.decision.safe_message == ""
    after = conversation.Message()
    after.CopyFrom(before)
    after.parts[0].text = "my <key>, \u200bok"
    assert list(reply.redacted_messages) == [after, user("h\u0435llo\u200b")]


async def test_only_what_was_judged_is_redacted(tmp_path: Path) -> None:
    write_policy(tmp_path, BOTH_SIDES)
    messages = [user("key-1"), assistant("key-2"), user("key-3")]
    async with running_server(tmp_path) as server:
        new = await server.check(guardrail.CheckRequest(messages=messages))
        whole = await server.check(guardrail.CheckRequest(messages=messages, scope=guardrail.SCOPE_WHOLE_CONVERSATION))
    assert [m.parts[0].text for m in new.redacted_messages] == ["key-1", "key-2", "<key>"]
    assert [m.parts[0].text for m in whole.redacted_messages] == ["<key>"] * 3


async def test_hidden_characters_inside_a_secret_go_with_it(tmp_path: Path) -> None:
    write_policy(tmp_path, BOTH_SIDES)
    async with running_server(tmp_path) as server:
        reply = await server.check(ask("\U0001f511 k\u200be\u200by-\uff11\uff12\u2060! \U0001f511"))
    (message,) = reply.redacted_messages
    assert message.parts[0].text in ("\U0001f511 <key>\u2060! \U0001f511", "\U0001f511 <key>! \U0001f511")


async def test_overlapping_findings_leave_nothing_that_either_wanted_gone(tmp_path: Path) -> None:
    write_policy(tmp_path, BOTH_SIDES)
    async with running_server(tmp_path) as server:
        reply = await server.check(ask("a key-123 pin z"))
    assert reply.redacted_messages[0].parts[0].text == "a <key> z"
    assert sorted(finding.rule for finding in reply.decision.findings) == ["key", "pin"]


async def test_a_match_over_two_parts_is_redacted_in_both(tmp_path: Path) -> None:
    write_policy(tmp_path, BOTH_SIDES.replace("[0-9]+ pin", r"[0-9]+\\s+pin"))
    empty = conversation.ContentPart(tool_call=conversation.ToolCall(call_id="1", name="f", arguments=""))
    parts = [conversation.ContentPart(text="it is 42"), empty, conversation.ContentPart(text="pin, yes")]
    message = conversation.Message(role=conversation.ROLE_USER, parts=parts)
    async with running_server(tmp_path) as server:
        reply = await server.check(guardrail.CheckRequest(messages=[message]))
    assert [part.text for part in reply.redacted_messages[0].parts] == ["it is [REDACTED]", "", "[REDACTED], yes"]
    assert reply.redacted_messages[0].parts[1] == empty


async def test_candidates_are_redacted_and_rank_after_whole_ones(tmp_path: Path) -> None:
    write_policy(tmp_path, BOTH_SIDES)
    async with running_server(tmp_path) as server:
        reply = await server.check(ask("hello", "use key-5 or pin=6", "nothing to hide"))
    first, second = reply.candidates
    assert (first.decision.action, first.rank) == (decisions.ACTION_REDACT, 2)
    assert first.redacted.parts[0].text == "use <key> or [REDACTED]"
    assert (second.decision.action, second.rank, second.HasField("redacted")) == (decisions.ACTION_ALLOW, 1, False)
    assert len(reply.redacted_messages) == 0
    assert reply.decision.action == decisions.ACTION_ALLOW


async def test_arguments_of_tool_calls_and_results_of_tools_are_redacted(tmp_path: Path) -> None:
    write_policy(tmp_path, BOTH_SIDES)
    call = conversation.ToolCall(call_id="key-1", name="find", arguments='{"q": "key-2"}')
    result = conversation.ToolResult(call_id="key-1", content="pin=3")
    request = guardrail.CheckRequest(
        messages=[
            user("hi"),
            conversation.Message(role=conversation.ROLE_TOOL, parts=[conversation.ContentPart(tool_result=result)]),
        ],
        candidates=[conversation.Candidate(parts=[conversation.ContentPart(tool_call=call)])],
    )
    async with running_server(tmp_path) as server:
        reply = await server.check(request)
    assert reply.redacted_messages[1].parts[0].tool_result.content == "[REDACTED]"
    redacted = reply.candidates[0].redacted.parts[0].tool_call
    assert (redacted.call_id, redacted.name, redacted.arguments) == ("key-1", "find", '{"q": "<key>"}')


async def test_what_is_blocked_is_not_sent_back_redacted(tmp_path: Path) -> None:
    block = "  - {kind: patterns, name: words, category: word, keywords: [bomb], action: block}\n"
    write_policy(tmp_path, BOTH_SIDES.replace("response:", f"{block}response:"))
    async with running_server(tmp_path, FakeScorer()) as server:
        reply = await server.check(ask("key-1 bomb"))
    assert reply.decision.action == decisions.ACTION_BLOCK
    assert len(reply.redacted_messages) == 0


@st.composite
def texts_and_spans(draw: st.DrawFn) -> tuple[str, list[Span]]:
    """A text and disjoint spans in it, in order."""
    text = draw(st.text(max_size=30))
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=8)))
    pairs = [(start, end) for start, end in zip(cuts[::2], cuts[1::2], strict=False)]
    return text, [Span(0, 1, start, end) for start, end in pairs]


@given(texts_and_spans())
def test_all_outside_the_spans_stays_and_nothing_inside_does(drawn: tuple[str, list[Span]]) -> None:
    text, spans = drawn
    decision = Decision(
        Action.REDACT, Action.REDACT, Enforcement.ENFORCED, Cause.POLICY, "r",
        redactions=tuple((span, "\u2588") for span in spans),
    )  # fmt: skip
    candidate = Candidate((TextPart(text), ToolResult("id", text)))
    first, second = redact_candidate(candidate, 0, decision).parts
    gone = {at for span in spans for at in range(span.start, span.end)}
    starts = {span.start for span in spans}
    expected = "".join(
        ("\u2588" if at in starts else "") + ("" if at in gone else char) for at, char in enumerate([*text, ""])
    )
    assert first == TextPart(text)  # the spans are of the second part
    assert second == ToolResult("id", expected)
