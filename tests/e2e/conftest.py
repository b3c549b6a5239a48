"""The service as it is shipped: embedded models, default policy, real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from guards.errors import ModelError
from guards.rewards.reward_model import RewardModel
from service.app import App
from service.config import Settings, load_settings
from service.reward_models import open_reward_model
from tests.e2e.running import OpenApp


@pytest.fixture(scope="session")
def reward_model() -> RewardModel:
    try:
        return open_reward_model(load_settings(None))
    except ModelError as error:
        pytest.skip(f"the embedded models are not in the cache: {error}")


@pytest.fixture
def open_app(reward_model: RewardModel) -> OpenApp:
    @asynccontextmanager
    async def running(settings: Settings) -> AsyncIterator[App]:
        app = App(settings, reward_model)
        stop = asyncio.Event()
        task = asyncio.create_task(app.run(stop))
        try:
            while not app.ready:
                assert not task.done(), task.exception()
                await asyncio.sleep(0.01)
            yield app
        finally:
            stop.set()
            await task

    return running
