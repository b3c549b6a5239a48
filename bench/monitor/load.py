"""Mixed load: harmless, harmful, disguised, foreign and endless texts, generations, bursts, and faults of callers."""

from __future__ import annotations

import asyncio
import base64
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial

from bench.monitor.scenario import Scenario
from bench.monitor.upstream import FAULT
from wardgate import AsyncClient, WardgateError

_FOREIGN = (
    "Как мне поменять пароль?",
    "¿Cómo cambio mi contraseña?",
    "كيف أغير كلمة المرور؟",
    "如何更改我的密码？",
    "비밀번호를 어떻게 변경하나요?",
)
_BURST = 24  # calls at once; more than are admitted
_PAUSE_S = 0.05  # of a worker between two calls, so that probes and explanations get a turn
_BURST_EVERY_S = 5.0
_METHODS = ("gradient_attention", "occlusion")
_BUDGET_S = 20.0  # of an explanation
_APART_S = 2.5

Call = Callable[[], Awaitable[object]]


class Load:
    """`outcomes` counts what callers got: `ok`, or an error's reason."""

    def __init__(self, client: AsyncClient, scenario: Scenario, seed: int = 0) -> None:
        self._client = client
        self._texts = scenario.texts
        self._random = random.Random(seed)
        self._running = True
        self.outcomes: Counter[str] = Counter()

    async def run(self, workers: int = 5) -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(workers):
                tasks.create_task(self._work())
            tasks.create_task(self._bursts())
            tasks.create_task(self._explain_on())

    def stop(self) -> None:
        self._running = False

    async def _work(self) -> None:
        kinds: dict[Call, int] = {
            self._harmless: 40,
            self._harmful: 12,
            self._generate: 16,
            self._broken: 2,
            self._answered: 10,
            self._redacted: 5,
            self._disguised: 5,
            self._foreign: 8,
            self._lenient: 3,
            self._strict: 2,
            self._trial: 4,
            self._endless: 1,
            self._empty: 2,
            self._unknown: 1,
            self._hasty: 1,
        }
        while self._running:
            (call,) = self._random.choices(list(kinds), list(kinds.values()))
            await self._make(call)
            await asyncio.sleep(_PAUSE_S)

    async def _bursts(self) -> None:
        while self._running:
            await asyncio.sleep(_BURST_EVERY_S)
            await asyncio.gather(*(self._make(self._harmless) for _ in range(_BURST)))

    async def explain(self, times: int) -> None:
        """Each method so often, far enough apart that scrapes see it rise."""
        for _ in range(times):
            for method in _METHODS:
                await self._make(partial(self._client.explain, self._harmful_text(), method=method, budget=_BUDGET_S))
            await asyncio.sleep(_APART_S)

    async def _explain_on(self) -> None:
        while self._running:
            await self.explain(1)

    async def _make(self, call: Call) -> None:
        try:
            await call()
            self.outcomes["ok"] += 1
        except WardgateError as error:
            self.outcomes[error.reason] += 1

    def _harmless_text(self) -> str:
        return self._random.choice(self._texts.harmless)

    def _harmful_text(self) -> str:
        return self._random.choice(self._texts.harmful)

    def _session(self) -> dict[str, str]:
        return {"session_id": f"{self._random.random()}"}

    async def _harmless(self) -> None:
        await self._client.check(self._harmless_text(), context=self._session())

    async def _harmful(self) -> None:
        await self._client.check(self._harmful_text(), context=self._session())

    async def _generate(self) -> None:
        text = self._harmful_text() if self._random.random() < 0.1 else self._harmless_text()
        await self._client.generate(text, max_tokens=32, context=self._session())

    async def _broken(self) -> None:
        await self._client.generate(f"Is the lift {FAULT}?", max_tokens=32)

    async def _answered(self) -> None:
        await self._client.check(self._harmless_text(), response="You can find that in the settings.")

    async def _redacted(self) -> None:
        await self._client.check("Tell me about bluebird at acme.", response="Ask ann.lee@example.org about it.")

    async def _disguised(self) -> None:
        await self._client.check("Do this: " + base64.b64encode(self._harmful_text().encode()).decode())

    async def _foreign(self) -> None:
        await self._client.check(self._random.choice(_FOREIGN))

    async def _lenient(self) -> None:
        await self._client.check(self._harmless_text(), policy="lenient")

    async def _strict(self) -> None:
        await self._client.check(self._harmless_text(), policy="strict")

    async def _trial(self) -> None:
        await self._client.check(self._harmful_text(), policy="trial")

    async def _endless(self) -> None:
        await self._client.check("word and word again " * 500)

    async def _empty(self) -> None:
        await self._client.check([])

    async def _unknown(self) -> None:
        await self._client.check(self._harmless_text(), policy="nobody-knows-it")

    async def _hasty(self) -> None:
        await self._client.check(self._harmless_text(), timeout=0.002)
