"""The batcher's choice under 64 clients in simulated time: throughput against tail, without a machine's noise.

`python -m bench.line_simulation`. A forward costs FIXED_S + TOKEN_S per padded token, as measured for MiniLM-L6 on one
core with onnxruntime; two workers; texts of bench.texts.
"""

from __future__ import annotations

import heapq
import itertools
import math
from dataclasses import dataclass, field

import numpy as np

from bench.texts import token_lengths
from service.batch_choice import BatchLimits, Line, Waiting, choose_batch, padded_tokens

FIXED_S, TOKEN_S = 0.004, 0.00026
_SECONDS, _WARM_UP_S = 120.0, 10.0
_CLIENT_S = 0.0005  # from an answer to the client's next request


@dataclass(slots=True)
class Simulation:
    limits: BatchLimits
    clients: int
    line: Line[Waiting] = field(default_factory=Line)
    latencies_s: list[float] = field(default_factory=list)
    now: float = 0.0
    tokens: int = 0
    padded: int = 0

    def run(self) -> str:
        """One row of a table."""
        lengths, numbers = itertools.cycle(token_lengths(20_000)), itertools.count()
        ends: list[tuple[float, int, list[Waiting]]] = []
        free = self.limits.workers
        for number in itertools.islice(numbers, self.clients):
            self.line.add(Waiting(next(lengths), number * 1e-4, number, number))
        while self.now < _SECONDS:
            while free and self.line:
                batch = self._take(free)
                heapq.heappush(ends, (self._end(batch), batch[0].number, batch))
                free -= 1
            self.now, _, batch = heapq.heappop(ends)
            free += 1
            for waiting in batch:
                self._answer(waiting)
                number = next(numbers)
                self.line.add(Waiting(next(lengths), self.now + _CLIENT_S, number, number))
        return self._row()

    def _take(self, free: int) -> list[Waiting]:
        rate = self.tokens / self.now if self.now else math.inf
        patience_s = self.limits.patience * self.line.tokens / rate
        batch = choose_batch(self.line, self.limits, self.now, free, patience_s)
        for waiting in batch:
            self.line.remove(waiting)
        return batch

    def _end(self, batch: list[Waiting]) -> float:
        self.tokens += sum(waiting.tokens for waiting in batch)
        self.padded += padded_tokens(batch)
        return self.now + FIXED_S + TOKEN_S * padded_tokens(batch)

    def _answer(self, waiting: Waiting) -> None:
        if self.now > _WARM_UP_S:
            self.latencies_s.append(self.now - waiting.due)

    def _row(self) -> str:
        p50, p99 = np.percentile(self.latencies_s, [50, 99]) * 1e3
        rate = len(self.latencies_s) / (_SECONDS - _WARM_UP_S)
        waste = 1 - self.tokens / self.padded
        limits = self.limits
        return (
            f"{self.clients:7} {limits.max_padding:11} {limits.patience:9} {rate:7.1f}"
            f" {p50:6.0f} {p99:6.0f} {p99 / p50:7.2f} {waste:7.3f}"
        )


def main() -> None:
    print("clients max_padding  patience texts/s p50_ms p99_ms p99/p50 padding")
    for clients in (8, 64):
        for padding in (0.02, 0.05, 0.08, 0.12):
            for patience in (0.0, 1.3, 20.0):
                print(Simulation(BatchLimits(max_padding=padding, patience=patience), clients).run())


if __name__ == "__main__":
    main()
