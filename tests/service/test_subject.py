"""Which text is judged, where it came from, and who pays for the scores."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.base import ScoreInput
from guards.errors import InvalidInput, ScoringError
from guards.normalize import normalize
from guards.types import Candidate, Message, Part, Role, Scope, Span, Stage, TextPart, ToolCall, ToolResult, part_text
from service.lineup import Lineup
from service.subject import Submission, TextSubject, candidate_text, request_text
from tests.fakes import FakeScorer
from tests.waiting import until

tricky = st.text(
    st.one_of(st.characters(codec="utf-8"), st.sampled_from("\u200b\u2060\u0430\u0435\ufb01\u0301\n\U0001f600ab ")),
    max_size=12,
)
parts = st.one_of(
    tricky.map(TextPart),
    tricky.map(lambda text: ToolCall("c", "n", text)),
    tricky.map(lambda text: ToolResult("c", text)),
)
messages = st.builds(
    Message,
    st.sampled_from([Role.USER, Role.TOOL, Role.SYSTEM, Role.ASSISTANT]),
    st.lists(parts, min_size=1, max_size=3).map(tuple),
)


def submission(scorer: FakeScorer, *texts: str, within_s: float = 10.0) -> Submission:
    return Submission(Lineup(scorer), [ScoreInput(normalize(text)) for text in texts], time.monotonic() + within_s)


async def subject_of(conversation: Sequence[Message], scope: Scope = Scope.WHOLE_CONVERSATION) -> TextSubject:
    judged = await request_text(conversation, scope)
    return TextSubject(judged, submission(FakeScorer(), judged.text.original), 0)


def at(conversation: Sequence[Message], span: Span) -> str:
    part: Part = conversation[span.message].parts[span.part]
    return part_text(part)[span.start : span.end]


@given(st.lists(messages, min_size=1, max_size=4), st.data())
def test_every_stretch_of_the_judged_text_is_found_again_in_the_callers_parts(
    conversation: list[Message], data: st.DataObject
) -> None:
    subject = asyncio.run(subject_of(conversation))
    judged = subject.text.original
    start = data.draw(st.integers(0, len(judged)))
    end = data.draw(st.integers(start, len(judged)))
    spans = subject.spans(start, end)
    # Newlines between parts are ours, and the only thing that is not the caller's.
    pieces = [at(conversation, span) for span in spans]
    assert "".join(pieces).replace("\n", "") == judged[start:end].replace("\n", "")
    assert list(spans) == sorted(spans, key=lambda span: (span.message, span.part, span.start))
    assert all(span.start < span.end for span in spans)


@given(st.lists(messages, min_size=1, max_size=6))
def test_new_turns_are_what_follows_the_last_answer_without_the_applications_own_words(
    conversation: list[Message],
) -> None:
    roles = [message.role for message in conversation]
    last_answer = max((i for i, role in enumerate(roles) if role is Role.ASSISTANT), default=-1)
    new = [m for m in conversation[last_answer + 1 :] if m.role is not Role.SYSTEM]
    if not new:
        with pytest.raises(InvalidInput):
            asyncio.run(subject_of(conversation, Scope.NEW_TURNS))
        return
    subject = asyncio.run(subject_of(conversation, Scope.NEW_TURNS))
    assert subject.text.original == "\n".join(message.text for message in new)


@given(st.lists(messages, min_size=1, max_size=6))
def test_a_response_is_judged_after_the_new_turns_and_the_end_of_what_was_said_before(
    conversation: list[Message],
) -> None:
    spoken = [message for message in conversation if message.role is not Role.SYSTEM]
    if not spoken or spoken[-1].role is Role.ASSISTANT:
        return
    judged = asyncio.run(request_text(conversation, Scope.NEW_TURNS))
    words = [part for message in spoken for part in message.text.split("\n")]
    answered = judged.answered.text.original
    assert answered.endswith(judged.text.original)
    assert [word for word in answered.split("\n") if word.strip()] == [word for word in words if word.strip()]
    assert at_all(conversation, judged.answered.spans(0, len(answered))) == answered.replace("\n", "")


def at_all(conversation: Sequence[Message], spans: Sequence[Span]) -> str:
    return "".join(at(conversation, span) for span in spans).replace("\n", "")


@pytest.mark.parametrize(
    ("newest", "kept"),
    [("go on", 600 - len("go on")), ("n" * 550, 50), ("n" * 600, 0), ("n" * 5000, 0)],
)
async def test_as_much_is_read_of_what_was_said_before_as_the_newest_turn_leaves_room_for(
    newest: str, kept: int
) -> None:
    said = "y" * 2000
    conversation = [
        Message(Role.SYSTEM, (TextPart("be kind"),)),
        Message(Role.USER, (TextPart("older"),)),
        Message(Role.ASSISTANT, (TextPart(said),)),
        Message(Role.USER, (TextPart(newest),)),
    ]
    judged = await request_text(conversation, Scope.NEW_TURNS)
    assert judged.text.original == newest
    assert judged.answered.text.original == (f"{said[:kept]}\n{newest}" if kept else newest)


async def test_a_whole_conversation_is_what_its_response_is_judged_after() -> None:
    conversation = [
        Message(Role.USER, (TextPart("hello"),)),
        Message(Role.ASSISTANT, (TextPart("hi"),)),
        Message(Role.USER, (TextPart("why?"),)),
    ]
    judged = await request_text(conversation, Scope.WHOLE_CONVERSATION)
    assert judged.answered is judged


async def test_a_candidate_is_judged_with_its_index() -> None:
    judged = await candidate_text(Candidate((TextPart("ab"), ToolCall("1", "n", "cd"))), 3)
    subject = TextSubject(judged, submission(FakeScorer(), "x"), 0)
    assert subject.stage is Stage.RESPONSE
    assert subject.spans(1, 4) == (Span(3, 0, 1, 2), Span(3, 1, 0, 1))
    assert subject.spans(2, 3) == ()  # only the newline between the parts


async def test_a_long_text_is_normalized_like_a_short_one() -> None:
    long = "h\u200bi " * 10_000
    judged = await request_text([Message(Role.USER, (TextPart(long),))], Scope.NEW_TURNS)
    assert judged.text == normalize(long)


async def test_all_who_ask_share_one_submission() -> None:
    scorer = FakeScorer()
    shared = submission(scorer, "a bomb", "hello")
    scores = await asyncio.gather(*(shared.scores(scorer, i % 2) for i in range(6)))
    assert len(scorer.calls) == 1
    assert [score.heads["request_risk"].risk for score in scores] == [0.97, 0.02] * 3
    assert shared.result(scorer, 0) is scores[0]


async def test_nothing_is_scored_when_nobody_asks() -> None:
    scorer = FakeScorer()
    shared = submission(scorer, "hello")
    assert shared.result(scorer, 0) is None
    await shared.close()
    assert scorer.calls == []


async def test_one_who_stops_waiting_does_not_take_the_scores_from_the_others() -> None:
    free = asyncio.Event()
    scorer = FakeScorer(before=lambda _: free.wait())
    shared = submission(scorer, "hello")
    hasty, patient = (asyncio.create_task(shared.scores(scorer, 0)) for _ in range(2))
    await until(lambda: len(scorer.calls) == 1)
    hasty.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hasty
    assert shared.result(scorer, 0) is None
    free.set()
    assert (await patient).heads["request_risk"].risk == 0.02


async def test_a_failed_submission_fails_everybody_and_has_no_result() -> None:
    def fail(_: Sequence[ScoreInput]) -> None:
        raise ScoringError("broken")

    scorer = FakeScorer(before=fail)
    shared = submission(scorer, "hello")
    outcomes = await asyncio.gather(*(shared.scores(scorer, 0) for _ in range(3)), return_exceptions=True)
    assert all(isinstance(outcome, ScoringError) for outcome in outcomes)
    assert shared.result(scorer, 0) is None
    await shared.close()


async def test_closing_ends_what_still_runs() -> None:
    scorer = FakeScorer(before=lambda _: asyncio.Event().wait())
    before = len(asyncio.all_tasks())
    shared = submission(scorer, "hello")
    waiting = asyncio.create_task(shared.scores(scorer, 0))
    await until(lambda: len(scorer.calls) == 1)
    await shared.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert len(asyncio.all_tasks()) == before
