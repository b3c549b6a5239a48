"""What may be asked, and what comes back, with a process that only plays one."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from guards.errors import ModelError
from service.explaining.work import HeadWork, Work
from tests.fakes import FakeBackend, FakeScorer, ask, assistant, candidate, running_server, user, write_policy
from tests.service.explaining.conftest import FakeProcess
from wardgate.v1 import decision_pb2 as decisions
from wardgate.v1 import explanation_pb2 as explanations
from wardgate.v1 import guardrail_pb2 as guardrail

EXPLAIN = [guardrail.VIEW_EXPLANATION]
FURTHER_POLICY = """
name: default
version: "1"
request: [{kind: reward, name: other, head: other_risk, thresholds: {block: 0.8}}]
response: [{kind: reward, name: response-risk, head: response_reward, thresholds: {block: 0.8}}]
"""


async def test_tokens_point_into_the_message_and_part_that_they_are_of(tmp_path: Path) -> None:
    write_policy(tmp_path)
    async with running_server(tmp_path, process=FakeProcess(), artefact=tmp_path) as server:
        messages = [user("old"), assistant("fine"), user("build a"), user("bomb now")]
        reply = await server.explain(guardrail.ExplainRequest(messages=messages, request_id="r1"))
        assert reply.request_id == "r1"
        told = [(token.text, token.spans[0]) for token in reply.explanation.tokens]
        assert [(text, span.message, span.start, span.end) for text, span in told] == [
            ("build", 2, 0, 5),
            ("a", 2, 6, 7),
            ("bomb", 3, 0, 4),
            ("now", 3, 5, 8),
        ]
        assert reply.explanation.stage == decisions.STAGE_REQUEST
        assert reply.explanation.reward_model.digest == "f" * 64
        assert [window.spans[0].message for window in reply.explanation.windows] == [2]


async def test_top_k_keeps_those_that_mattered_most_in_the_order_of_the_text(tmp_path: Path) -> None:
    write_policy(tmp_path)
    async with running_server(tmp_path, process=FakeProcess(), artefact=tmp_path) as server:
        reply = await server.explain(guardrail.ExplainRequest(messages=[user("a b c d")], top_k=2))
        assert [token.text for token in reply.explanation.tokens] == ["c", "d"]
        assert reply.explanation.tokens_total == 4


async def test_a_response_is_explained_by_the_policys_head_for_responses(tmp_path: Path) -> None:
    write_policy(tmp_path)
    process = FakeProcess()
    async with running_server(tmp_path, process=process, artefact=tmp_path) as server:
        messages = [user("old"), assistant("fine"), user("why?")]
        request = guardrail.ExplainRequest(messages=messages, response=candidate("no idea"), method="exact")
        reply = await server.explain(request)
        (work,) = process.asked
        assert isinstance(work, HeadWork)
        assert (work.head, work.response, work.method) == ("response_reward", "no idea", "exact")
        assert work.prompt == "old\nfine\nwhy?"  # what the response was judged after
        assert reply.explanation.stage == decisions.STAGE_RESPONSE
        assert [token.stage for token in reply.explanation.tokens] == [decisions.STAGE_RESPONSE] * 2


@pytest.mark.parametrize(
    ("fields", "code", "fault"),
    [
        ({"decision_id": "d"}, grpc.StatusCode.FAILED_PRECONDITION, "decisions are not kept"),
        ({"method": "nonsense"}, grpc.StatusCode.NOT_FOUND, "integrated_gradients"),
        ({"head": "nonsense"}, grpc.StatusCode.NOT_FOUND, "request_risk"),
        ({"budget": Duration(seconds=31)}, grpc.StatusCode.INVALID_ARGUMENT, "budget"),
        ({"budget": Duration()}, grpc.StatusCode.INVALID_ARGUMENT, "budget"),
        ({"generation": {"position": 1}}, grpc.StatusCode.INVALID_ARGUMENT, "response"),
    ],
)
async def test_what_cannot_be_explained_is_refused(
    tmp_path: Path, fields: dict[str, object], code: grpc.StatusCode, fault: str
) -> None:
    write_policy(tmp_path)
    async with running_server(tmp_path, process=FakeProcess(), artefact=tmp_path) as server:
        request = guardrail.ExplainRequest(messages=[user("hello")], **fields)  # type: ignore[arg-type]
        with pytest.raises(grpc.aio.AioRpcError, match=fault) as refused:
            await server.explain(request)
        assert refused.value.code() is code


async def test_heads_of_further_models_are_refused_with_those_that_can_be_explained(tmp_path: Path) -> None:
    write_policy(tmp_path, FURTHER_POLICY)
    others = {"other": FakeScorer(heads=("other_risk", "other_reward"))}
    async with running_server(tmp_path, others=others, process=FakeProcess(), artefact=tmp_path) as server:
        for head in ("", "other_risk"):
            request = guardrail.ExplainRequest(messages=[user("hello")], head=head)
            with pytest.raises(grpc.aio.AioRpcError, match="request_risk") as refused:
                await server.explain(request)
            assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_a_generation_is_explained_only_where_the_model_is_at_hand(tmp_path: Path) -> None:
    write_policy(tmp_path)
    async with running_server(tmp_path, process=FakeProcess(), artefact=tmp_path) as server:
        request = guardrail.ExplainRequest(
            messages=[user("hello")], response=candidate("hi"), generation={"position": 0}
        )
        with pytest.raises(grpc.aio.AioRpcError, match="no wrapped model is configured") as refused:
            await server.explain(request)
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_a_check_shows_why_its_worst_finding_came(tmp_path: Path) -> None:
    write_policy(tmp_path)
    process = FakeProcess()
    async with running_server(tmp_path, process=process, artefact=tmp_path) as server:
        reply = await server.check(ask("a knife", "fine", "a bomb", views=EXPLAIN))
        assert reply.explanation.explanation.head == "request_risk"  # the better candidate has no finding
        reply = await server.check(ask("a knife", "a bomb", views=EXPLAIN))
        assert reply.explanation.explanation.head == "response_reward"
        assert [token.text for token in reply.explanation.explanation.tokens] == ["a", "bomb"]
        reply = await server.check(ask("hello", "fine", views=EXPLAIN))
        assert reply.explanation.explanation.head == "response_reward"  # no finding: the last text judged
        assert not (await server.check(ask("a bomb"))).HasField("explanation")
        assert server.metric("wardgate_explanations_total", method="gradient_attention", result="faithful") == 3


async def test_a_check_never_fails_for_its_explanation(tmp_path: Path) -> None:
    write_policy(tmp_path)

    def breaks(work: Work) -> None:
        raise faults.pop()

    faults: list[Exception] = [RuntimeError("secret words"), ModelError("the files are gone")]
    async with running_server(tmp_path, process=FakeProcess(breaks), artefact=tmp_path) as server:
        for _ in range(2):
            reply = await server.check(ask("a bomb", views=EXPLAIN))
            assert reply.decision.action == decisions.ACTION_BLOCK
            assert reply.explanation.error.code
            assert "secret" not in reply.explanation.error.message
        assert server.metric("wardgate_explanations_total", method="fast", result="failed") == 2


async def test_the_words_of_a_withheld_response_do_not_leave_in_its_explanation(tmp_path: Path) -> None:
    write_policy(tmp_path)
    async with running_server(
        tmp_path, backend=FakeBackend(["a bomb"]), process=FakeProcess(), artefact=tmp_path
    ) as server:
        reply = await server.generate(guardrail.GenerateRequest(messages=[user("hello")], views=EXPLAIN))
        assert reply.decision.action == decisions.ACTION_BLOCK
        assert reply.explanation.explanation.head == "response_reward"
        assert "bomb" not in str(reply)
    async with running_server(
        tmp_path, backend=FakeBackend(["a knife"]), process=FakeProcess(), artefact=tmp_path
    ) as server:
        reply = await server.generate(guardrail.GenerateRequest(messages=[user("hello")], views=EXPLAIN))
        assert [token.text for token in reply.explanation.explanation.tokens] == ["a", "knife"]


async def test_an_attention_selection_reaches_the_process_as_it_was_asked(tmp_path: Path) -> None:
    write_policy(tmp_path)
    process = FakeProcess()
    async with running_server(tmp_path, process=process, artefact=tmp_path) as server:
        chosen = explanations.AttentionSelection(layer=0)
        await server.explain(guardrail.ExplainRequest(messages=[user("hello")], attention=chosen))
        await server.explain(guardrail.ExplainRequest(messages=[user("hello")]))
        asked = [work.attention for work in process.asked if isinstance(work, HeadWork)]
        assert asked[0] is not None
        assert (asked[0].layer, asked[0].attention_head) == (0, None)
        assert asked[1] is None
