"""The wrapped model in this process: many responses are written in one running batch."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from guards.errors import BackendError, DeadlineExceeded, FieldViolation, InvalidInput, ModelError, Unavailable
from guards.types import Message, Role, TextPart
from service.backends.base import FinishReason, Generation, SamplingParameters
from service.backends.chat_prompt import ChatPrompt

if TYPE_CHECKING:
    from service.backends.continuous import Engine, Output

log = logging.getLogger(__name__)

WARM_UP_LIMIT_S = 120.0
STOP_LIMIT_S = 10.0


@dataclass(frozen=True, slots=True)
class _Writing:
    """One response being written."""

    done: asyncio.Future[Generation]
    prompt_tokens: int
    stop: tuple[str, ...]


@dataclass(slots=True)
class _Run:
    """What one `start` brings to life."""

    engine: Engine
    prompt: ChatPrompt
    tokenizing: ThreadPoolExecutor
    writings: dict[str, _Writing] = field(default_factory=dict)
    failed: bool = False


class TransformersBackend:
    """`max_concurrent` responses are written at once, `max_waiting` more wait for a place; calls beyond are refused.

    `cache_tokens` bounds prompts and responses of one batch together; `prefill_tokens` is the most one step computes.
    `threads` sets torch's intra-op threads for the whole process; None leaves them.

    A seed repeats a response in the same company. What else is in the batch moves the rounding of bfloat16, and with it
    the text; where seeds must hold in any company, take float32.
    """

    def __init__(
        self,
        model_dir: Path,
        name: str,
        *,
        dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16",
        device: str = "cpu",
        max_concurrent: int = 8,
        max_waiting: int = 64,
        max_prompt_tokens: int = 4096,
        cache_tokens: int = 16384,
        prefill_tokens: int = 512,
        threads: int | None = None,
    ) -> None:
        self.name = name
        self._model_dir = model_dir
        self._dtype = dtype
        self._device = device
        self._max_concurrent = max_concurrent
        self._max_waiting = max_waiting
        self._max_prompt_tokens = max_prompt_tokens
        self._cache_tokens = cache_tokens
        self._prefill_tokens = prefill_tokens
        self._threads = threads
        self._ids = itertools.count()
        self._run: _Run | None = None

    @property
    def active(self) -> int:
        """Responses that hold a place in the batch or its cache now."""
        return self._run.engine.active if self._run is not None else 0

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        loading = asyncio.ensure_future(asyncio.to_thread(self._load, loop))
        try:
            engine = await asyncio.shield(loading)
        except asyncio.CancelledError:
            # A thread cannot be cancelled, and the engine it brings back would keep the process alive.
            with suppress(ModelError):
                await asyncio.to_thread((await loading).stop, STOP_LIMIT_S)
            raise
        try:
            prompt = ChatPrompt(engine.tokenizer)
        except BaseException:
            await asyncio.to_thread(engine.stop, STOP_LIMIT_S)
            raise
        self._run = run = _Run(engine, prompt, ThreadPoolExecutor(1, thread_name_prefix="tokenize"))
        watcher = threading.Thread(target=self._watch, args=(run, loop), name="generation-watch", daemon=True)
        watcher.start()
        try:
            await self._warm_up()
        except BaseException:
            await self.stop()
            raise

    async def generate(
        self, messages: Sequence[Message], sampling: SamplingParameters, n: int, deadline: float
    ) -> tuple[Generation, ...]:
        run = self._running()
        remaining_s = deadline - time.monotonic()
        if remaining_s <= 0:
            raise DeadlineExceeded("no time is left to generate")
        try:
            async with asyncio.timeout(remaining_s):
                loop = asyncio.get_running_loop()
                prompt = await loop.run_in_executor(run.tokenizing, run.prompt.tokens, messages)
                return await self._write(run, prompt, sampling, n)
        except TimeoutError as error:
            raise DeadlineExceeded(f"{self.name} did not finish in time") from error

    async def healthy(self) -> bool:
        return self._run is not None and not self._run.failed and self._run.engine.running

    async def stop(self) -> None:
        run, self._run = self._run, None
        if run is None:
            return
        _fail_all(run, Unavailable(f"{self.name} is stopping"))
        run.tokenizing.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(run.engine.stop, STOP_LIMIT_S)

    def _load(self, loop: asyncio.AbstractEventLoop) -> Engine:
        # OpenMP reads this when torch is first imported. Threads that spin while they wait make a step 20 times slower
        # as soon as anything else, such as the scorer, wants the same cores (measured on 2 cores under load).
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        try:
            import torch

            from service.backends.continuous import Engine, EngineSize
        except ImportError as error:
            raise ModelError("the in-process backend needs torch and transformers; install wardgate[local]") from error
        if self._threads is not None:
            torch.set_num_threads(self._threads)
        size = EngineSize(self._max_concurrent, self._cache_tokens, self._prefill_tokens)

        def deliver(outputs: list[Output]) -> None:
            _hop(loop, partial(self._receive, outputs))

        try:
            return Engine(self._model_dir, self._dtype, self._device, size, deliver)
        except (OSError, ValueError, RuntimeError, MemoryError) as error:
            raise ModelError(f"model {self.name!r} in {self._model_dir} cannot be loaded: {error}") from error

    async def _warm_up(self) -> None:
        """The first steps build thread pools, kernels and caches; nobody should wait for that but us."""
        hello = (Message(Role.USER, (TextPart("Say hello."),)),)
        sampling = SamplingParameters(max_tokens=4, temperature=0.7, top_p=0.9, seed=0)
        await self.generate(hello, sampling, min(self._max_concurrent, 2), time.monotonic() + WARM_UP_LIMIT_S)

    async def _write(
        self, run: _Run, prompt: list[int], sampling: SamplingParameters, n: int
    ) -> tuple[Generation, ...]:
        room = self._room(run, len(prompt))
        self._running()  # it may have died or been stopped while the prompt was tokenized
        if len(run.writings) + n > self._max_concurrent + self._max_waiting:
            raise BackendError(f"{self.name} has as many responses to write as it may", "rate_limited")
        bounded = replace(sampling, max_tokens=min(sampling.max_tokens, room))
        first_seed = secrets.randbits(63) if sampling.seed is None else sampling.seed
        started = [self._begin(run, prompt, bounded, first_seed + index) for index in range(n)]
        try:
            return tuple(await asyncio.gather(*(run.writings[request_id].done for request_id in started)))
        finally:
            for request_id in started:
                self._leave(run, request_id)

    def _room(self, run: _Run, prompt_tokens: int) -> int:
        """How many tokens may follow the prompt."""
        limit = min(self._max_prompt_tokens, run.engine.context_tokens - 1)
        if prompt_tokens > limit:
            message = f"the conversation has {prompt_tokens} tokens and {self.name} takes {limit}; send fewer"
            raise InvalidInput(message, (FieldViolation("messages", message),))
        return run.engine.context_tokens - prompt_tokens

    def _running(self) -> _Run:
        run = self._run
        if run is None:
            raise Unavailable(f"{self.name} is not started or is stopping")
        if run.failed or not run.engine.running:
            raise BackendError(f"{self.name} stopped after a failure; restart the server", "server_error")
        return run

    def _begin(self, run: _Run, prompt: list[int], sampling: SamplingParameters, seed: int) -> str:
        request_id = f"response-{next(self._ids)}"
        done: asyncio.Future[Generation] = asyncio.get_running_loop().create_future()
        run.writings[request_id] = _Writing(done, len(prompt), sampling.stop)
        # Without stop texts nothing matters before the end: one hop for a response instead of one for each token.
        run.engine.submit(request_id, prompt, sampling, seed, stream=bool(sampling.stop))
        return request_id

    def _leave(self, run: _Run, request_id: str) -> None:
        """Frees the place of a response that is still being written."""
        if run.writings.pop(request_id, None) is not None:
            run.engine.cancel(request_id)

    def _receive(self, outputs: list[Output]) -> None:
        run = self._run
        if run is None:
            return
        for output in outputs:
            writing = run.writings.get(output.request_id)
            if writing is None or writing.done.done():
                continue  # its caller has left
            if output.error:
                log.error("generation_failed", extra={"backend": self.name, "request_id": output.request_id})
                writing.done.set_exception(BackendError(f"{self.name} failed to generate", "server_error"))
                continue
            generation = _finished(output, writing, run)
            if generation is not None:
                if output.finished:
                    del run.writings[output.request_id]
                writing.done.set_result(generation)

    def _watch(self, run: _Run, loop: asyncio.AbstractEventLoop) -> None:
        run.engine.join()
        _hop(loop, partial(self._ended, run))

    def _ended(self, run: _Run) -> None:
        """The last resort of everybody who still waits, however the thread ended."""
        run.failed = True
        if self._run is run:
            log.error("generation_thread_died", extra={"backend": self.name})
        _fail_all(run, BackendError(f"{self.name} stopped after a failure; restart the server", "server_error"))


def _finished(output: Output, writing: _Writing, run: _Run) -> Generation | None:
    """The response when it is over: at the model's end, at a stop text, which is left out, or at the limit."""
    text = run.prompt.text(output.tokens)
    found = [place for stop in writing.stop if stop and (place := text.find(stop)) >= 0]
    if found:
        text, reason = text[: min(found)], FinishReason.STOP
    elif not output.finished:
        return None
    else:
        at_end = bool(output.tokens) and output.tokens[-1] in run.engine.end_tokens
        reason = FinishReason.STOP if at_end else FinishReason.LENGTH
    return Generation((TextPart(text),), reason, writing.prompt_tokens, len(output.tokens))


def _fail_all(run: _Run, error: Unavailable) -> None:
    for writing in run.writings.values():
        if not writing.done.done():
            writing.done.set_exception(error)


def _hop(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    """Runs `callback` on the loop, unless it has closed: then nobody waits."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(callback)
