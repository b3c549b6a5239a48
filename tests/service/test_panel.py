"""A side's guards at work together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.fakes import FakeScorer, ask, running_server, write_policy
from tests.plugin_guards import installed
from tests.refusals import refusal
from tests.waiting import until
from wardgate.v1 import decision_pb2 as decisions


@pytest.fixture(autouse=True)
def _plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with installed(tmp_path_factory.mktemp("site")):
        yield


def policy(*guards: str, side: str = "request") -> str:
    listed = "\n".join(f"  - {guard}" for guard in guards)
    return f'name: default\nversion: "1"\n{side}:\n{listed}\n'


HANG = "{kind: plugin, name: hang, does: hang, timeout_s: 100}"
OVERLOAD = "{kind: plugin, name: overload, does: overload}"
RISK = "{kind: reward, name: risk, head: request_risk, thresholds: {block: 0.8}}"
WORDS = "{kind: patterns, name: words, category: word, keywords: [bomb], action: flag}"


async def test_results_come_in_the_policys_order(tmp_path: Path) -> None:
    write_policy(tmp_path, policy(WORDS, RISK, "{kind: plugin, name: a, does: raise, on_error: open}"))
    async with running_server(tmp_path) as server:
        reply = await server.check(ask("a bomb"))
    assert [guard.guard for guard in reply.guards] == ["words", "risk", "a"]
    assert [finding.rule for finding in reply.decision.findings] == ["risk", "words"]
    assert all(guard.duration.ToNanoseconds() > 0 for guard in reply.guards)


async def test_guards_work_at_the_same_time(tmp_path: Path) -> None:
    slow = [f"{{kind: plugin, name: slow{i}, does: hang, timeout_s: 0.3, on_error: open}}" for i in range(8)]
    write_policy(tmp_path, policy(*slow))
    async with running_server(tmp_path) as server:
        started = time.monotonic()
        reply = await server.check(ask("hello"))
        took_s = time.monotonic() - started
    assert {guard.status for guard in reply.guards} == {decisions.GUARD_STATUS_TIMEOUT}
    assert took_s < 8 * 0.3


async def test_an_overload_does_not_wait_for_slower_guards(tmp_path: Path) -> None:
    write_policy(tmp_path, policy(HANG, OVERLOAD))
    async with running_server(tmp_path) as server:
        refused = await refusal(server.check(ask("hello"), timeout=5))
    assert refused.code is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_one_texts_refusal_stops_the_guards_of_the_others(tmp_path: Path) -> None:
    write_policy(tmp_path, policy(HANG) + "response: [{kind: plugin, name: full, does: overload}]\n")
    async with running_server(tmp_path) as server:
        before = len(asyncio.all_tasks())
        refused = await refusal(server.check(ask("hello", "fine"), timeout=5))
        await until(lambda: len(asyncio.all_tasks()) <= before, within_s=2)
    assert refused.code is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_guard_that_needs_no_scores_does_not_wait_for_them(tmp_path: Path) -> None:
    """The slow scorer costs its own guard the limit, and the other nothing."""
    write_policy(tmp_path, policy(RISK[:-1] + ", timeout_s: 0.2, on_error: open}", WORDS))
    scorer = FakeScorer(before=lambda _: asyncio.Event().wait())
    async with running_server(tmp_path, scorer) as server:
        reply = await server.check(ask("a bomb"))
    risk, words = reply.guards
    assert risk.status == decisions.GUARD_STATUS_TIMEOUT
    assert words.duration.ToMilliseconds() < risk.duration.ToMilliseconds()
    assert reply.decision.action == decisions.ACTION_FLAG


async def test_a_side_without_guards_allows(tmp_path: Path) -> None:
    write_policy(tmp_path, policy(WORDS))
    async with running_server(tmp_path) as server:
        reply = await server.check(ask("hello", "a bomb"))
    assert reply.candidates[0].decision.action == decisions.ACTION_ALLOW
    assert [(guard.guard, guard.stage) for guard in reply.guards] == [("words", decisions.STAGE_REQUEST)]
