"""Policies that change while the server works."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from guards.errors import ConfigError
from service.policies import EMBEDDED_POLICIES, PolicyStore, watch_policies
from tests.fakes import HEADS, REWARD_POLICY, Running, ask, running_server, write_policy
from tests.waiting import until
from wardgate.v1 import conversation_pb2 as conversation
from wardgate.v1 import decision_pb2 as decisions

LENIENT = REWARD_POLICY.replace("block: 0.8, flag: 0.5", "flag: 0.5").replace('version: "1"', 'version: "2"')
BROKEN = REWARD_POLICY.replace("head: request_risk", "head: nothing")


def named(name: str) -> str:
    return REWARD_POLICY.replace("name: default", f"name: {name}")


def version(server: Running) -> str:
    return server.policies.select("", "").version


def reloads(server: Running, result: str) -> float:
    return server.metric("wardgate_policy_reloads_total", result=result)


async def action(server: Running, policy: str = "") -> decisions.Action:
    return (await server.check(ask("a bomb", policy=policy))).decision.action


async def test_a_valid_change_takes_effect(tmp_path: Path) -> None:
    write_policy(tmp_path)
    async with running_server(tmp_path) as server:
        before = await server.check(ask("a bomb"))
        write_policy(tmp_path, LENIENT)
        server.policies.reload()
        after = await server.check(ask("a bomb"))
        counted = reloads(server, "ok")
    assert (before.decision.action, before.provenance.policy_version) == (decisions.ACTION_BLOCK, "1")
    assert (after.decision.action, after.provenance.policy_version) == (decisions.ACTION_FLAG, "2")
    assert before.provenance.policy_digest != after.provenance.policy_digest
    assert counted == 2  # the first load, and this one


async def test_an_invalid_change_keeps_the_policy_in_force_and_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_policy(tmp_path)
    async with running_server(tmp_path) as server:
        for text in (BROKEN, "name: [", "", "description: 2026-99-99"):
            write_policy(tmp_path, text)
            server.policies.reload()
            assert await action(server) == decisions.ACTION_BLOCK
            assert server.metric("wardgate_policy_files_valid") == 0
        failed, loaded_at = reloads(server, "error"), server.metric("wardgate_policy_loaded_timestamp_seconds")
        write_policy(tmp_path, LENIENT)
        server.policies.reload()
        assert await action(server) == decisions.ACTION_FLAG
        assert server.metric("wardgate_policy_loaded_timestamp_seconds") > loaded_at
        assert server.metric("wardgate_policy_files_valid") == 1
    assert failed == 4
    faults = [record.__dict__["fault"] for record in caplog.records if "fault" in record.__dict__]
    assert len(faults) == 4
    assert all("default.yaml" in fault for fault in faults)


async def test_an_invalid_file_does_not_hold_back_the_others(tmp_path: Path) -> None:
    write_policy(tmp_path)
    write_policy(tmp_path, named("other"), "other.yml")
    async with running_server(tmp_path) as server:
        write_policy(tmp_path, BROKEN)
        write_policy(tmp_path, LENIENT.replace("name: default", "name: other"), "other.yml")
        write_policy(tmp_path, named("new"), "new.yaml")
        server.policies.reload()
        chosen = [await action(server, name) for name in ("default", "other", "new")]
    assert chosen == [decisions.ACTION_BLOCK, decisions.ACTION_FLAG, decisions.ACTION_BLOCK]


async def test_the_default_policy_cannot_be_deleted(tmp_path: Path) -> None:
    file = write_policy(tmp_path)
    async with running_server(tmp_path) as server:
        file.unlink()
        server.policies.reload()
        assert await action(server) == decisions.ACTION_BLOCK
        assert reloads(server, "error") == 1


async def test_a_policy_that_a_route_uses_cannot_be_deleted_and_another_can(tmp_path: Path) -> None:
    write_policy(tmp_path)
    routed = write_policy(tmp_path, named("routed"), "routed.yaml")
    spare = write_policy(tmp_path, named("spare"), "spare.yaml")
    async with running_server(tmp_path, routes={"/chat": "routed"}) as server:
        spare.unlink()
        server.policies.reload()
        assert (reloads(server, "ok"), reloads(server, "error")) == (2, 0)
        routed.unlink()
        server.policies.reload()
        request = ask("hi", context=conversation.CallContext(route="/chat"))
        assert (await server.check(request)).provenance.policy == "routed"
        assert reloads(server, "error") == 1
        info = [line for line in server.metrics.render().decode().splitlines() if "policy_info{" in line]
    assert sorted(line.split('policy="')[1].split('"')[0] for line in info) == ["default", "routed"]


async def test_counters_keep_their_values_over_a_reload(tmp_path: Path) -> None:
    write_policy(tmp_path)
    labels = {
        "policy": "default", "stage": "request", "action": "block", "enforcement": "enforced", "cause": "policy",
    }  # fmt: skip
    async with running_server(tmp_path) as server:
        await action(server)
        write_policy(tmp_path, REWARD_POLICY + "# changed\n")
        server.policies.reload()
        await action(server)
        assert server.metric("wardgate_requests_total", **labels) == 2
        info = [line for line in server.metrics.render().decode().splitlines() if "policy_info{" in line]
    assert len(info) == 1  # the policy before left no series behind


@asynccontextmanager
async def watching(server: Running) -> AsyncIterator[None]:
    """With the real watcher at work."""
    task = asyncio.create_task(watch_policies(server.policies))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


async def seen(server: Running, condition: Callable[[], bool], change: Callable[[], object]) -> None:
    """Makes a change until it was seen: the watcher may not have begun when the first is made."""
    async with asyncio.timeout(20):
        while not condition():
            change()
            try:
                await until(condition, within_s=1.0)
            except AssertionError:
                continue


async def test_the_watcher_sees_a_change_in_place(tmp_path: Path) -> None:
    write_policy(tmp_path)
    async with running_server(tmp_path) as server, watching(server):
        await seen(server, lambda: version(server) == "2", lambda: write_policy(tmp_path, LENIENT))
        write_policy(tmp_path, BROKEN)
        await until(lambda: reloads(server, "error") >= 1)
        assert version(server) == "2"
        write_policy(tmp_path)
        await until(lambda: version(server) == "1")


async def test_the_watcher_sees_kubernetes_swap_a_configmap(tmp_path: Path) -> None:
    """The kubelet writes a new folder and renames the `..data` link over the old one."""
    mount = tmp_path / "mount"
    mount.mkdir()

    def publish(revision: str, text: str) -> None:
        folder = mount / f"..{revision}"
        folder.mkdir(exist_ok=True)
        write_policy(folder, text)
        fresh = mount / "..data_tmp"
        fresh.symlink_to(folder.name)
        os.replace(fresh, mount / "..data")

    publish("2026_1", REWARD_POLICY)
    (mount / "default.yaml").symlink_to("..data/default.yaml")
    async with running_server(mount) as server, watching(server):
        assert version(server) == "1"
        await seen(server, lambda: version(server) == "2", lambda: publish("2026_2", LENIENT))
        publish("2026_3", BROKEN)
        await until(lambda: reloads(server, "error") >= 1)
        assert version(server) == "2"
        publish("2026_4", REWARD_POLICY)
        await until(lambda: version(server) == "1")


async def test_what_changed_before_the_watcher_began_is_seen(tmp_path: Path) -> None:
    write_policy(tmp_path)
    async with running_server(tmp_path) as server:
        write_policy(tmp_path, LENIENT)
        async with watching(server):
            await until(lambda: version(server) == "2")


async def test_requests_go_on_while_policies_change(tmp_path: Path) -> None:
    write_policy(tmp_path)
    async with running_server(tmp_path) as server:
        seen_versions = set()
        for round_ in range(20):
            calls = asyncio.gather(*(server.check(ask("a bomb")) for _ in range(5)))
            write_policy(tmp_path, (LENIENT, BROKEN, REWARD_POLICY)[round_ % 3])
            server.policies.reload()
            for reply in await calls:
                seen_versions.add((reply.provenance.policy_version, reply.decision.action))
    assert seen_versions == {("1", decisions.ACTION_BLOCK), ("2", decisions.ACTION_FLAG)}


def store(directory: Path, default: str = "default", routes: dict[str, str] | None = None) -> PolicyStore:
    return PolicyStore(directory, default, routes or {}, HEADS, lambda policies, ok: None)


@pytest.mark.parametrize(
    ("files", "default", "routes", "what"),
    [
        ({}, "default", {}, "the default policy is 'default', which no file"),
        ({"a.yaml": named("a")}, "default", {}, "defined: a"),
        ({"a.yaml": named("default")}, "default", {"/x": "none"}, "route '/x' is 'none'"),
        ({"a.yaml": named("default"), "b.yml": named("default")}, "default", {}, "already defines policy 'default'"),
        ({"a.yaml": named("default"), "b.yaml": BROKEN}, "default", {}, "b.yaml"),
        ({"a.txt": named("default"), "b.yaaml": named("default")}, "default", {}, "defined: none"),
    ],
)
def test_at_the_start_every_file_must_be_right(
    tmp_path: Path, files: dict[str, str], default: str, routes: dict[str, str], what: str
) -> None:
    for file, text in files.items():
        write_policy(tmp_path, text, file)
    with pytest.raises(ConfigError) as refused:
        store(tmp_path, default, routes).load()
    assert what in str(refused.value)


def test_the_embedded_policy_is_valid() -> None:
    embedded = store(EMBEDDED_POLICIES)
    embedded.load()
    assert embedded.select("", "").version == "1"


async def test_a_watcher_whose_folder_is_missing_tries_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    task = asyncio.create_task(watch_policies(store(tmp_path / "gone")))
    with caplog.at_level(logging.ERROR):
        await until(lambda: "watching policies failed" in caplog.text)
    assert not task.done()
    task.cancel()
    await asyncio.wait([task])
