"""What the figures say: counted once, from the outcome, under labels from closed sets."""

from __future__ import annotations

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from service.batcher import BatchOutcome, BatchReport
from service.metrics import LiveGauge, Metrics
from tests.fakes import REWARD_POLICY, FakeBackend, FakeScorer, Running, ask, running_server, user, write_policy
from wardgate.v1 import conversation_pb2 as conversation
from wardgate.v1 import decision_pb2 as decisions
from wardgate.v1 import guardrail_pb2 as guardrail

SHADOW_GUARD = REWARD_POLICY.replace("    head: request_risk", "    enforcement: shadow\n    head: request_risk")


def requests(server: Running, stage: str, action: str, enforcement: str = "enforced") -> float:
    return server.metric(
        "wardgate_requests_total", policy="default", stage=stage, action=action, enforcement=enforcement, cause="policy"
    )


def evaluations(server: Running, guard: str, stage: str, result: str) -> float:
    return server.metric("wardgate_guard_evaluations_total", guard=guard, stage=stage, result=result)


async def test_every_judged_text_is_counted_once(tmp_path: Path) -> None:
    write_policy(tmp_path)
    async with running_server(tmp_path) as server:
        await server.check(ask("hello", "fine", "a bomb"))
        await server.check(ask("a knife"))
        assert [requests(server, "request", action) for action in ("allow", "flag", "block")] == [1, 1, 0]
        assert [requests(server, "response", action) for action in ("allow", "flag", "block")] == [1, 0, 1]
        assert evaluations(server, "request-risk", "request", "flagged") == 1
        assert evaluations(server, "response-risk", "response", "blocked") == 1
        labels = {"policy": "default", "head": "response_reward", "stage": "response"}
        assert server.metric("wardgate_risk_score_count", **labels) == 2
        assert server.metric("wardgate_reward_count", model="fake", stage="request") == 2
        assert server.metric("wardgate_request_duration_seconds_count", stage="check") == 2
        assert server.metric("wardgate_input_tokens_sum", stage="response") == 20


async def test_generation_is_counted_apart_from_what_the_guardrail_adds(tmp_path: Path) -> None:
    write_policy(tmp_path)
    async with running_server(tmp_path, backend=FakeBackend()) as server:
        await server.generate(guardrail.GenerateRequest(messages=[user("hello")]))
        await server.generate(guardrail.GenerateRequest(messages=[user("a bomb")]))
        assert server.metric("wardgate_model_tokens_total", model="fake-model", kind="prompt") == 7
        assert server.metric("wardgate_model_tokens_total", model="fake-model", kind="completion") == 3
        assert server.metric("wardgate_generate_duration_seconds_count", model="fake-model") == 1
        assert server.metric("wardgate_added_latency_seconds_count", stage="generate") == 2
        assert evaluations(server, "response-risk", "response", "skipped") == 1
        assert evaluations(server, "response-risk", "response", "allowed") == 1


async def test_a_shadow_policy_passes_and_is_counted_with_what_it_would_do(tmp_path: Path) -> None:
    write_policy(tmp_path, REWARD_POLICY + "enforcement: shadow\n")
    async with running_server(tmp_path) as server:
        reply = await server.check(ask("a bomb"))
        shadow = server.metric("wardgate_shadow_actions_total", policy="default", stage="request", action="block")
        assert requests(server, "request", "allow", "shadow") == 1
    assert (reply.decision.action, reply.decision.would_action) == (decisions.ACTION_ALLOW, decisions.ACTION_BLOCK)
    assert reply.decision.enforcement == decisions.ENFORCEMENT_SHADOW
    assert (reply.decision.safe_message, reply.decision.reason_code) == ("", "request-risk")
    assert len(reply.decision.findings) == 1
    assert shadow == 1


async def test_a_shadow_guard_passes_and_is_counted_with_what_it_would_do(tmp_path: Path) -> None:
    write_policy(tmp_path, SHADOW_GUARD)
    async with running_server(tmp_path) as server:
        reply = await server.check(ask("a bomb", "a bomb"))
        assert evaluations(server, "request-risk", "request", "would_block") == 1
        assert evaluations(server, "response-risk", "response", "blocked") == 1
        assert server.metric("wardgate_shadow_actions_total", policy="default", stage="request", action="block") == 1
    (request_guard, _) = reply.guards
    assert request_guard.enforcement == decisions.ENFORCEMENT_SHADOW
    assert reply.candidates[0].decision.action == decisions.ACTION_BLOCK
    assert reply.decision.reason_code == "response-risk"


async def test_an_item_of_a_batch_that_fails_is_counted(tmp_path: Path) -> None:
    write_policy(tmp_path)
    async with running_server(tmp_path) as server:
        reply = await server.batch_check(ask("hello"), guardrail.CheckRequest())
        assert [item.WhichOneof("result") for item in reply.items] == ["response", "error"]
        assert server.metric("wardgate_rejections_total", reason="invalid_input") == 1


async def test_labels_never_hold_what_callers_send(tmp_path: Path) -> None:
    canary = "canary-9a"
    write_policy(tmp_path)
    fields = ("app", "route", "tenant", "session_id", "user_hash", "locale")
    context = conversation.CallContext(**dict.fromkeys(fields, canary))
    async with running_server(tmp_path, backend=FakeBackend([canary])) as server:
        await server.check(ask(f"{canary} bomb", canary, request_id=canary, context=context))
        await server.generate(guardrail.GenerateRequest(messages=[user(canary)], request_id=canary, context=context))
        rendered = server.metrics.render().decode()
    assert canary not in rendered


async def test_names_follow_prometheus_and_every_metric_is_ours_or_standard(tmp_path: Path) -> None:
    write_policy(tmp_path)
    async with running_server(tmp_path) as server:
        await server.check(ask("hello", "fine"))
        families = list(text_string_to_metric_families(server.metrics.render().decode()))
    for family in families:
        assert family.name.startswith(("wardgate_", "grpc_server_", "process_", "python_"))
        assert family.documentation
        if family.type == "histogram" and family.name.startswith("wardgate_"):
            assert family.name.endswith(
                ("_seconds", "_score", "_reward", "_tokens", "_windows", "_size", "_ratio", "_faithfulness")
            ), family.name
    assert {"wardgate_build_info", "wardgate_reward_model_info"} <= {family.name for family in families}


async def test_faults_are_counted_from_zero(tmp_path: Path) -> None:
    """Or the first one would be no increase, and no alarm."""
    write_policy(tmp_path)
    async with running_server(tmp_path) as server:
        page = server.metrics.render().decode()
    begun = {line.rpartition(" ")[0] for line in page.splitlines() if line.endswith(" 0.0")}
    assert {
        'wardgate_fail_open_total{error_type="timeout",guard="request-risk"}',
        'wardgate_fail_closed_total{error_type="scoring",guard="request-risk"}',
        'wardgate_fail_closed_total{error_type="timeout",guard="response-risk"}',
        'wardgate_rejections_total{reason="overloaded"}',
        'wardgate_rejections_total{reason="internal"}',
        'wardgate_backend_errors_total{kind="timeout"}',
        'wardgate_policy_reloads_total{result="error"}',
        'wardgate_incomplete_coverage_total{reason="max_windows"}',
        'wardgate_rollout_changes_total{result="failed"}',
    } <= begun


def test_gauges_read_the_living_thing() -> None:
    metrics, depth = Metrics("1"), [3.0]
    metrics.watch([LiveGauge("wardgate_depth", "Depth.", lambda: depth[0])])
    depth[0] = 5.0
    assert metrics.registry.get_sample_value("wardgate_depth") == 5.0


def test_two_sets_of_metrics_live_side_by_side() -> None:
    one, other = Metrics("1"), Metrics("2")
    one.rejections.labels("x").inc()
    assert other.registry.get_sample_value("wardgate_rejections_total", {"reason": "x"}) is None


def test_a_batch_counts_its_padding_and_waits() -> None:
    metrics = Metrics("1")
    report = BatchReport(
        items=2, tokens=30, padded_tokens=40, forward_s=0.01, queue_s=(0.1, 0.2), outcome=BatchOutcome.OK
    )
    metrics.batched(report)
    read = metrics.registry.get_sample_value
    assert read("wardgate_batches_total", {"outcome": "ok"}) == 1
    assert read("wardgate_batch_padding_ratio_sum") == 0.25
    assert read("wardgate_queue_wait_seconds_count") == 2


async def test_unscored_texts_leave_no_empty_figures(tmp_path: Path) -> None:
    words = "{kind: patterns, name: words, category: word, keywords: [bomb]}"
    write_policy(tmp_path, f'name: default\nversion: "1"\nrequest: [{words}]')
    async with running_server(tmp_path, FakeScorer()) as server:
        await server.check(ask("hello"))
        assert server.metric("wardgate_windows_count") == 0
        assert requests(server, "request", "allow") == 1
