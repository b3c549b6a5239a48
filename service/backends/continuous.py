"""transformers' continuous batching as one object: submit, cancel, stop, and a callback with what was written.

Departures from the library's serving code:
- The cache is sized by what is promised, not by free memory: on a CPU the default takes 60% of the RAM and 14 s.
- Sampling is seeded for each request (`service.backends.sampling`).
- Outputs that nobody waits for any more go to the callback too, instead of into a queue that only grows.

Imports torch and transformers: import it only where a model is loaded.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    ContinuousBatchingConfig,
    GenerationConfig,
    LogitsProcessorList,
)
from transformers.generation.continuous_batching.cb_logits_processors import ContinuousBatchingLogitsProcessorList
from transformers.generation.continuous_batching.continuous_api import OutputRouter
from transformers.utils import logging as transformers_logging

from service.backends.base import SamplingParameters
from service.backends.sampling import RowSampling, SeededSampling

PAGE_TOKENS = 64
# Below this a draw is the most likely token anyway, and dividing by it overflows.
GREEDY_TEMPERATURE = 1e-4


@dataclass(frozen=True, slots=True)
class EngineSize:
    """`cache_tokens` bounds prompts and responses of one batch together: when it is full, some requests start anew
    later. `prefill_tokens` is the most one step computes, so it bounds how long a long prompt holds up the others."""

    max_concurrent: int
    cache_tokens: int
    prefill_tokens: int


@dataclass(frozen=True, slots=True)
class Output:
    """All tokens so far. `error` is the library's word for what failed."""

    request_id: str
    tokens: Sequence[int]
    finished: bool
    error: str


Deliver = Callable[[list[Output]], None]


class _Router(OutputRouter):
    def __init__(self, deliver: Deliver) -> None:
        super().__init__()
        self._deliver = deliver

    def deliver(self, output: Any) -> None:
        self.deliver_batch([output])

    def deliver_batch(self, outputs: list[Any]) -> None:
        self._deliver([Output(o.request_id, o.generated_tokens, o.is_finished(), o.error or "") for o in outputs])


class Engine:
    """A loaded model and the thread that runs it. `deliver` is called on that thread and must not block or raise."""

    def __init__(self, model_dir: Path, dtype: str, device: str, size: EngineSize, deliver: Deliver) -> None:
        from_disk: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        self.tokenizer: Any = AutoTokenizer.from_pretrained(model_dir, **from_disk)
        with _no_progress_bars():
            model: Any = AutoModelForCausalLM.from_pretrained(
                model_dir, dtype=getattr(torch, dtype), attn_implementation="sdpa", use_safetensors=True, **from_disk
            )
        model = model.to(device).eval()
        self.end_tokens = _end_tokens(model.generation_config.eos_token_id) | _end_tokens(self.tokenizer.eos_token_id)
        self.context_tokens = min(int(model.config.max_position_embeddings), size.cache_tokens - PAGE_TOKENS)
        self._manager = _manager(model, sorted(self.end_tokens), size)
        self._manager.output_router = _Router(deliver)
        self._manager.start()
        self._thread = self._manager._generation_thread

    def submit(self, request_id: str, prompt: list[int], sampling: SamplingParameters, seed: int, stream: bool) -> None:
        options: dict[str, Any] = {}
        if sampling.temperature >= GREEDY_TEMPERATURE:
            options["sampling"] = RowSampling(sampling.temperature, sampling.top_p, sampling.top_k, seed)
        self._manager.add_request(
            prompt, request_id=request_id, max_new_tokens=sampling.max_tokens, streaming=stream, **options
        )

    def cancel(self, request_id: str) -> None:
        """Takes effect before the next step."""
        self._manager.cancel_request(request_id)

    @property
    def running(self) -> bool:
        # Not the thread alone: it may have recorded its death and still be cleaning up.
        return self._thread.is_alive() and self._manager.background_thread_status.can_accept_new_requests() is None

    @property
    def active(self) -> int:
        """Requests that hold a place in the batch or the cache."""
        processor = self._manager.batch_processor
        return len(processor.scheduler.active_requests) if processor is not None else 0

    def join(self) -> None:
        """Waits until the thread has ended, for whatever reason."""
        self._thread.join()

    def stop(self, limit_s: float) -> None:
        self._manager.stop(block=True, timeout=limit_s, hard_stop=True)
        self._manager.destroy()


def _manager(model: Any, end_tokens: list[int], size: EngineSize) -> Any:
    # It logs token ids of requests it refuses, and they are user text.
    logging.getLogger("ContinuousBatchingLogger").setLevel(logging.ERROR)
    batching = ContinuousBatchingConfig(
        page_size=PAGE_TOKENS,
        num_blocks=math.ceil(size.cache_tokens / PAGE_TOKENS),
        max_batch_tokens=max(size.prefill_tokens, size.max_concurrent),
        max_requests_per_batch=size.max_concurrent,
        use_async_batching=False,  # SeededSampling relies on it
        use_cuda_graph=False,
        auto_switch_to_flash=False,
    )
    generation_config: Any = GenerationConfig
    generation = generation_config(do_sample=False, eos_token_id=end_tokens or -1)
    manager = model.init_continuous_batching(generation, batching)
    processors: Any = ContinuousBatchingLogitsProcessorList(LogitsProcessorList([SeededSampling()]))
    processors.tensors_required = 1
    manager.logit_processor = processors
    return manager


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    logging: Any = transformers_logging
    were_shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if were_shown:
            logging.enable_progress_bar()


def _end_tokens(ids: int | Sequence[int] | None) -> frozenset[int]:
    if ids is None:
        return frozenset()
    return frozenset([ids] if isinstance(ids, int) else ids)
