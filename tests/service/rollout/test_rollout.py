"""Versions take over while calls run: through the real App, its gRPC door and its metrics."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import grpc
import pytest

from guards.errors import ConfigError
from service.__main__ import main
from service.app import App
from service.config import Settings
from service.rollout.loaded import KNOWN_SAFE, KNOWN_UNSAFE
from tests.fakes import write_policy
from tests.service.rollout.versions import ADMIN, REQUEST_POLICY, Versions
from tests.waiting import until
from wardgate import AsyncClient, WardgateError
from wardgate.v1.decision_pb2 import ACTION_ALLOW, ACTION_BLOCK
from wardgate.v1.reward_model_pb2 import (
    ROLLOUT_STAGE_ACTIVE,
    ROLLOUT_STAGE_CANARY,
    ROLLOUT_STAGE_NONE,
    ROLLOUT_STAGE_SHADOW,
)

OpenApp = Callable[[Settings], AbstractAsyncContextManager[App]]

BOTH_HEADS = REQUEST_POLICY + "response: [{kind: reward, name: r, head: response_reward, thresholds: {block: 0.9}}]\n"


def client_of(app: App, token: str | None = ADMIN) -> AsyncClient:
    return AsyncClient(f"127.0.0.1:{app.server.port}", token=token, timeout=60)


def sample(app: App, name: str, **labels: str) -> float:
    return app.metrics.registry.get_sample_value(name, labels) or 0.0


def series(app: App, name: str) -> dict[tuple[str, ...], float]:
    """Every sample of a metric by its labels' values, in the labels' order."""
    found = [sample for metric in app.metrics.registry.collect() for sample in metric.samples if sample.name == name]
    return {tuple(sample.labels.values()): sample.value for sample in found}


class Traffic:
    """Calls without pause, each in a session of its own; it keeps what came back."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self.digests: Counter[str] = Counter()
        self.errors: list[Exception] = []
        self._running = True

    async def run(self, number: int) -> None:
        while self._running:
            session = {"session_id": f"{number}-{self.digests.total()}"}
            try:
                reply = await self._client.check(KNOWN_SAFE if number % 2 else KNOWN_UNSAFE, context=session)
            except WardgateError as error:
                self.errors.append(error)
            else:
                self.digests[reply.provenance.reward_model_digest] += 1
                assert reply.decision.action == (ACTION_ALLOW if number % 2 else ACTION_BLOCK)

    def stop(self) -> None:
        self._running = False

    async def until_seen(self, digest: str, times: int = 20) -> None:
        """So many more replies of that version."""
        goal = self.digests[digest] + times
        await until(lambda: self.digests[digest] >= goal or bool(self.errors), within_s=60)


async def test_no_call_fails_through_canary_promotion_and_rollback(open_app: OpenApp, versions: Versions) -> None:
    second = versions.add("2")
    async with open_app(versions.settings()) as app, client_of(app) as client, asyncio.TaskGroup() as tasks:
        first = app.rollout.standing.active.digest
        traffic = Traffic(client)
        for number in range(8):
            tasks.create_task(traffic.run(number))
        await traffic.until_seen(first)
        shadow = await client.set_rollout("2", "shadow")
        await until(lambda: any(series(app, "wardgate_shadow_evaluations_total").values()), within_s=60)
        canary = await client.set_rollout("2", "canary", percent=50)
        await traffic.until_seen(first)
        await traffic.until_seen(second)
        weights = series(app, "wardgate_rollout_weight")
        roles = series(app, "wardgate_reward_model_info")
        active = await client.set_rollout("2", "active")
        await traffic.until_seen(second)
        await until(lambda: len(app.rollout.loaded) == 1, within_s=60)  # the last request has left the first version
        back = await client.roll_back()
        await traffic.until_seen(first)
        traffic.stop()
    assert traffic.errors == []
    assert set(traffic.digests) == {first, second}
    assert [model.stage for model in (shadow, canary, active)] == [
        ROLLOUT_STAGE_SHADOW,
        ROLLOUT_STAGE_CANARY,
        ROLLOUT_STAGE_ACTIVE,
    ]
    assert (back.digest, back.stage) == (first, ROLLOUT_STAGE_ACTIVE)
    assert weights == {("1", first): 0.5, ("2", second): 0.5}
    assert roles == {("active", "1", first): 1, ("canary", "2", second): 1}
    assert series(app, "wardgate_reward_model_info") == {("active", "1", first): 1}  # none is left behind
    counted = series(app, "wardgate_scored_requests_total")
    roles_that_decided = [("1", first, "active"), ("2", second, "canary"), ("2", second, "active")]
    assert set(counted) == {(*role, action) for role in roles_that_decided for action in ("allow", "block")}
    assert sum(counted.values()) == traffic.digests.total()
    assert series(app, "wardgate_rollout_changes_total") == {("ok",): 4, ("refused",): 0, ("failed",): 0}


async def test_a_session_stays_with_its_version_and_joins_a_growing_canary_for_good(
    open_app: OpenApp, versions: Versions
) -> None:
    second = versions.add("2")
    sessions = [f"session-{i}" for i in range(40)]

    async def inside(client: AsyncClient) -> set[str]:
        replies = [await client.check("hello", context={"session_id": session}) for session in sessions]
        found = [reply.provenance.reward_model_digest == second for reply in replies]
        return {session for session, is_in in zip(sessions, found, strict=True) if is_in}

    async with open_app(versions.settings()) as app, client_of(app) as client:
        seen = []
        for percent in (20, 20, 60):
            await client.set_rollout(second[:8], "canary", percent=percent)
            seen.append(await inside(client))
        await client.set_rollout("2", "none")
        assert await inside(client) == set()
    assert seen[0] == seen[1] < seen[2]
    assert 0 < len(seen[0]) < len(seen[2]) < len(sessions)


async def test_a_request_finishes_on_the_version_it_began_on(open_app: OpenApp, versions: Versions) -> None:
    versions.add("2")
    async with open_app(versions.settings()) as app, client_of(app) as client:
        old = app.rollout.standing.active
        free = asyncio.Event()
        score = old.scorer.score

        async def held(*arguments: object) -> object:
            await free.wait()
            return await score(*arguments)  # type: ignore[arg-type]

        old.scorer.score = held  # type: ignore[method-assign, assignment]
        begun = asyncio.create_task(client.check(KNOWN_UNSAFE))
        await until(lambda: old.uses == 1)
        await client.set_rollout("2", "active")
        after = await client.check(KNOWN_SAFE)
        assert old.digest in app.rollout.loaded
        assert old.batcher.healthy
        free.set()
        reply = await begun
        await until(lambda: old.digest not in app.rollout.loaded)
        await until(lambda: not old.batcher.healthy)
    assert reply.decision.action == ACTION_BLOCK
    assert reply.provenance.reward_model_digest == old.digest != after.provenance.reward_model_digest


async def test_a_restart_brings_everything_back(open_app: OpenApp, versions: Versions) -> None:
    digests = {name: versions.add(name) for name in ("2", "3", "4")}
    async with open_app(versions.settings()) as app, client_of(app) as client:
        await client.set_rollout("2", "active")
        await client.set_rollout("3", "canary", percent=12.5)
        await client.set_rollout("4", "shadow")
        before = await client.list_reward_models()
    async with open_app(versions.settings()) as app, client_of(app) as client:
        assert await client.list_reward_models() == before
        back = await client.roll_back()
    assert {model.version: (model.stage, model.percent) for model in before.models} == {
        "1": (ROLLOUT_STAGE_NONE, 0),
        "2": (ROLLOUT_STAGE_ACTIVE, 87.5),
        "3": (ROLLOUT_STAGE_CANARY, 12.5),
        "4": (ROLLOUT_STAGE_SHADOW, 0),
    }
    assert [model.digest for model in before.models][1:] == list(digests.values())
    assert [model.loaded for model in before.models] == [False, True, True, True]
    assert back.version == "1"


@pytest.mark.parametrize("role", ["active", "shadow"])
async def test_a_state_that_names_a_version_that_is_gone_or_damaged_serves_no_other(
    versions: Versions, role: str
) -> None:
    second = versions.add("2")
    configured = App(versions.settings()).rollout
    roles = (
        {"active": second} if role == "active" else {"active": configured.standing.active.digest, "shadows": [second]}
    )
    await configured.close(0)
    versions.state.write_text(json.dumps({"format": 1, **roles}))
    heads = versions.directory / "2" / "heads.safetensors"
    whole = heads.read_bytes()
    heads.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ConfigError, match=rf"{second}.*does not match its manifest"):
        App(versions.settings())
    heads.unlink()
    (versions.directory / "2" / "manifest.json").unlink()
    with pytest.raises(ConfigError, match=rf"names reward model {second}, which is not there"):
        App(versions.settings())


async def refused(call: object) -> WardgateError:
    with pytest.raises(WardgateError) as failure:
        await call  # type: ignore[misc]
    return failure.value


async def test_a_damaged_version_is_listed_and_cannot_be_rolled_out(open_app: OpenApp, versions: Versions) -> None:
    second = versions.add("2")
    (versions.directory / "2" / "heads.safetensors").write_bytes(b"nonsense")
    async with open_app(versions.settings()) as app, client_of(app) as client:
        listed = await client.list_reward_models()
        error = await refused(client.set_rollout(second, "active"))
    assert [(damaged.folder, "does not match" in damaged.fault) for damaged in listed.damaged] == [("2", True)]
    assert error.code is grpc.StatusCode.NOT_FOUND
    assert "2 (damaged)" in str(error)


@pytest.mark.parametrize("stage", ["active", "canary", "shadow"])
async def test_a_version_that_does_not_tell_the_known_texts_apart_is_refused_and_closed(
    open_app: OpenApp, versions: Versions, stage: str
) -> None:
    blind = versions.add_blind("2")
    async with open_app(versions.settings()) as app, client_of(app) as client:
        percent = 10 if stage == "canary" else None
        error = await refused(client.set_rollout("2", stage, percent=percent))  # type: ignore[arg-type]
        reply = await client.check("hello")
        assert blind not in app.rollout.loaded
        assert sample(app, "wardgate_rollout_changes_total", result="refused") == 1
    assert error.code is grpc.StatusCode.FAILED_PRECONDITION
    assert "does not tell a known-safe from a known-unsafe text" in str(error)
    assert reply.provenance.reward_model_digest != blind
    assert not versions.state.exists()


async def test_a_blind_active_version_takes_no_traffic_until_another_takes_over(
    open_app: OpenApp, versions: Versions
) -> None:
    versions.add("2")
    blind = versions.add_blind("3")
    versions.state.write_text(json.dumps({"format": 1, "active": blind}))
    async with open_app(versions.settings()) as app, client_of(app) as client:
        assert not app.ready
        assert not await client.healthy()
        assert await client.healthy("liveness")  # a restart would not mend it
        error = await refused(client.check("hello", timeout=1))
        await client.set_rollout("2", "active")
        await until(lambda: app.ready)
        assert (await client.check(KNOWN_UNSAFE)).decision.action == ACTION_BLOCK
    assert error.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)  # the client tries again


async def test_a_version_without_a_head_that_a_policy_names_is_refused(open_app: OpenApp, versions: Versions) -> None:
    versions.add("2", kinds={"request_risk": "prompt"})
    write_policy(versions.policies, BOTH_HEADS)
    async with open_app(versions.settings()) as app, client_of(app) as client:
        error = await refused(client.set_rollout("2", "active"))
        assert (await client.check(KNOWN_UNSAFE, response="x")).decision.action == ACTION_BLOCK
    assert error.code is grpc.StatusCode.FAILED_PRECONDITION
    assert "policy 'default' uses head 'response_reward'" in str(error)


async def test_policies_may_name_a_head_once_every_deciding_version_has_it(
    open_app: OpenApp, versions: Versions
) -> None:
    versions.add("2", kinds={"request_risk": "prompt", "response_reward": "exchange", "helpfulness": "exchange"})
    helpful = REQUEST_POLICY + "response: [{kind: reward, name: h, head: helpfulness, thresholds: {flag: 0.01}}]\n"
    async with open_app(versions.settings()) as app, client_of(app) as client:
        write_policy(versions.policies, helpful)
        await until(lambda: sample(app, "wardgate_policy_reloads_total", result="error") == 1)
        await client.set_rollout("2", "canary", percent=100)
        assert "helpfulness" not in app.rollout.heads  # the active version lacks it
        await client.set_rollout("2", "active")
        await asyncio.to_thread(app.policies.reload)
        reply = await client.check("hello", response="x", scores=True)
        error = await refused(client.set_rollout("1", "active"))
    assert {score.head for score in reply.scores} == {"request_risk", "response_reward", "helpfulness"}
    assert [guard.guard for guard in reply.guards] == ["risk", "h"]
    assert error.code is grpc.StatusCode.FAILED_PRECONDITION


async def test_without_a_folder_versions_can_be_listed_and_not_changed(open_app: OpenApp, versions: Versions) -> None:
    async with open_app(versions.settings(rollout={})) as app, client_of(app) as client:
        listed = await client.list_reward_models()
        shown = await client.get_reward_model("1")
        error = await refused(client.set_rollout("1", "active"))
    assert [(model.version, model.stage) for model in listed.models] == [("1", ROLLOUT_STAGE_ACTIVE)]
    assert [head.name for head in shown.heads] == ["request_risk", "response_reward"]
    assert error.code is grpc.StatusCode.FAILED_PRECONDITION
    assert "rollout.directory" in str(error)


async def test_a_caller_who_leaves_a_change_leaves_the_disk_and_the_memory_agreed(
    open_app: OpenApp, versions: Versions
) -> None:
    second = versions.add("2")
    async with open_app(versions.settings()) as app, client_of(app) as client:
        for delay_s in (0.0, 0.01, 0.1, 0.3):
            change = asyncio.create_task(client.set_rollout("2", "shadow"))
            await asyncio.sleep(delay_s)
            change.cancel()
            await asyncio.gather(change, return_exceptions=True)
        done = await client.set_rollout("2", "canary", percent=1)
        on_disk = json.loads(versions.state.read_text())
        await until(lambda: app.rollout.loaded == {app.rollout.standing.active.digest, second})
    assert done.stage == ROLLOUT_STAGE_CANARY
    assert on_disk["canary"] == {"digest": second, "percent": 1.0}


async def test_a_canary_that_lost_its_folder_can_be_taken_out_and_given_nothing(
    open_app: OpenApp, versions: Versions
) -> None:
    second = versions.add("2")
    async with open_app(versions.settings()) as app, client_of(app) as client:
        await client.set_rollout("2", "canary", percent=100)
        shutil.rmtree(versions.directory / "2")
        reply = await client.check("hello")
        listed = await client.list_reward_models()
        error = await refused(client.set_rollout("2", "active"))
        await client.set_rollout("2", "none")
        await until(lambda: second not in app.rollout.loaded)
    assert reply.provenance.reward_model_digest == second
    assert [model.version for model in listed.models] == ["1", "2"]
    assert error.code is grpc.StatusCode.NOT_FOUND


async def test_a_rollback_to_a_version_that_is_gone_is_refused(open_app: OpenApp, versions: Versions) -> None:
    for version in ("2", "3"):
        versions.add(version)
    async with open_app(versions.settings()) as app, client_of(app) as client:
        await client.set_rollout("2", "active")
        await client.set_rollout("3", "active")
        shutil.rmtree(versions.directory / "2")
        error = await refused(client.roll_back())
        assert app.rollout.standing.active.artefact.version == "3"
    assert error.code is grpc.StatusCode.FAILED_PRECONDITION
    assert "put it back or set another one active" in str(error)


async def test_a_policy_is_valid_for_what_was_rolled_out(
    open_app: OpenApp, versions: Versions, capsys: pytest.CaptureFixture[str]
) -> None:
    versions.add("2", kinds={"request_risk": "prompt", "helpfulness": "exchange"})
    config = versions.root / "wardgate.yaml"
    config.write_text(
        f"scoring: {{artefact: {versions.configured}}}\nrollout: {{directory: {versions.directory}}}\n"
        "backend: {kind: none}\n"
    )
    helpful = REQUEST_POLICY + "response: [{kind: reward, name: h, head: helpfulness, thresholds: {flag: 0.5}}]\n"
    file = write_policy(versions.root, helpful, "helpful.yaml")
    validate = ["policy", "validate", str(file), "--config", str(config)]
    assert main(validate) == 2
    assert "head 'helpfulness' does not judge the response side" in capsys.readouterr().err
    async with open_app(versions.settings()) as app, client_of(app) as client:
        await client.set_rollout("2", "active")
    assert main(validate) == 0


async def test_a_folder_that_is_gone_fails_changes_and_nothing_else(open_app: OpenApp, versions: Versions) -> None:
    versions.add("2")
    async with open_app(versions.settings()) as app, client_of(app) as client:
        shutil.rmtree(versions.directory)
        error = await refused(client.set_rollout("2", "active"))
        assert (await client.check(KNOWN_UNSAFE)).decision.action == ACTION_BLOCK
    assert error.code is grpc.StatusCode.FAILED_PRECONDITION
    assert "rollout.directory" in str(error)


async def test_a_version_name_that_several_have_needs_the_digest(open_app: OpenApp, versions: Versions) -> None:
    versions.add("2")
    other = versions.add("2", folder=versions.directory / "other", shift=0.5)
    async with open_app(versions.settings()) as app, client_of(app) as client:
        error = await refused(client.set_rollout("2", "shadow"))
        assert (await client.set_rollout(other[:8], "shadow")).digest == other
        assert (await client.get_reward_model(other)).stage == ROLLOUT_STAGE_SHADOW
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert other[:12] in str(error)
