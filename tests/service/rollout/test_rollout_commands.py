"""`wardgate models rollout` as an operator types it, against a running server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from service.__main__ import main
from service.app import App
from service.config import Settings
from service.reward_models import export_reward_model
from tests.service.rollout.test_rollout import client_of
from tests.service.rollout.versions import Versions

OpenApp = Callable[[Settings], AbstractAsyncContextManager[App]]


async def rollout(app: App, versions: Versions, *arguments: str) -> int:
    place = ["--server", f"127.0.0.1:{app.server.port}", "--token-file", str(versions.admin_tokens)]
    return await asyncio.to_thread(main, ["models", "rollout", *arguments, *place])


async def test_an_operator_lists_sets_and_rolls_back(
    open_app: OpenApp, versions: Versions, capsys: pytest.CaptureFixture[str]
) -> None:
    second = versions.add("2")
    async with open_app(versions.settings()) as app:
        assert await rollout(app, versions, "set", "2", "--stage", "canary", "--percent", "10") == 0
        assert await rollout(app, versions, "set", second[:8], "--stage", "active") == 0
        assert await rollout(app, versions, "rollback", "--json") == 0
        assert await rollout(app, versions, "list") == 0
        active = app.rollout.standing.active.artefact.version
    canary, promoted, *rest = capsys.readouterr().out.splitlines()
    assert canary.split()[:5] == ["2", second[:12], "canary", "10", "%"]
    assert promoted.split()[2] == "active"
    assert json.loads("\n".join(rest[:-3]))["version"] == "1"
    assert [line.split()[2] for line in rest[-3:-1]] == ["active", "none"]
    assert rest[-1] == "before: none"
    assert active == "1"


async def test_what_is_refused_is_said_without_a_traceback(
    open_app: OpenApp, versions: Versions, capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_app(versions.settings()) as app:
        assert await rollout(app, versions, "set", "9", "--stage", "active") == 2
        assert await rollout(app, versions, "set", "1", "--stage", "canary") == 2
        assert await rollout(app, versions, "rollback") == 2
        versions.admin_tokens.write_text("another-token-0123456789")
        assert await rollout(app, versions, "rollback") == 2
    said = capsys.readouterr().err
    for part in (
        "there is no reward model of that name",
        "--percent",
        "no version was active before",
        "UNAUTHENTICATED",
    ):
        assert part in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--token-file", "/nowhere"], "cannot be read"),
        (["--token-file", "{tokens}", "--server", "elsewhere.example:1"], "--ca-file"),
        (["--ca-file", "/nowhere"], "cannot be read"),
    ],
)
def test_a_token_that_cannot_go_safely_goes_nowhere(
    versions: Versions, arguments: list[str], fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [argument.format(tokens=versions.admin_tokens) for argument in arguments]
    assert main(["models", "rollout", "list", *given]) == 2
    assert fault in capsys.readouterr().err


async def test_a_version_that_is_not_exported_yet_is_exported_beside_the_server(
    open_app: OpenApp, versions: Versions
) -> None:
    second = versions.add("2")
    scoring = {"runtime": "onnx", "artefact": versions.configured, "encoder": f"file:{versions.encoder}", "workers": 2}
    settings = versions.settings(scoring=scoring)
    export_reward_model(settings)
    async with open_app(settings) as app, client_of(app) as client:
        await client.set_rollout("2", "active")
        reply = await client.check("hello")
        graphs = list((versions.root / "cache").glob("reward-onnx@*/model.onnx"))
    assert reply.provenance.reward_model_digest == second
    assert len(graphs) == 2
