"""From windows to figures: medians over rounds, ratios within a round."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np

from bench.load import LoadResult
from bench.processes import Memory
from bench.raw import RawResult

CLIENTS = (1, 8, 32, 64)


@dataclass(slots=True)
class Rounds:
    """Windows by name, one per round: "wardgate:64", "naive:64", "raw:batched", "raw:single", "raw:lone"."""

    cold_start_s: list[float]
    memory: Memory
    load: dict[str, list[LoadResult]] = field(default_factory=lambda: defaultdict(list))
    raw: dict[str, list[RawResult]] = field(default_factory=lambda: defaultdict(list))

    def add(self, name: str, result: LoadResult | RawResult) -> None:
        if isinstance(result, RawResult):
            self.raw[name].append(result)
        else:
            self.load[name].append(result)


def report(rounds: Rounds) -> dict[str, Any]:
    """The figures of bench/results/check.json."""
    ours, naive = rounds.load["wardgate:64"], rounds.load["naive:64"]
    raw = rounds.raw["raw:batched"]
    rates = [_rate(window) for window in ours]
    raw_rates = [window.texts / window.seconds for window in raw]
    return {
        "throughput_vs_raw": _ratio(rates, raw_rates),
        "throughput_vs_naive": _ratio(rates, [_rate(window) for window in naive]),
        "added_p50_ms": added_ms(rounds.load["wardgate:1"], rounds.raw["raw:single"]),
        "added_p50_ms_same_session": added_ms(rounds.load["wardgate:1"], rounds.raw["raw:lone"]),
        "p99_over_p50_at_64": _middle(ours, lambda window: _ms(window, 99) / _ms(window, 50)),
        "cpu_ms_per_request": _middle(ours, lambda window: 1e3 * window.server_cpu_s / len(window.text)),
        "raw_cpu_ms_per_text": round(median(1e3 * window.cpu_s / window.texts for window in raw), 3),
        "cold_start_s": round(median(rounds.cold_start_s), 2),
        "rss_mb": round(rounds.memory.rss),
        "uss_mb": round(rounds.memory.uss),
        "raw_texts_per_s": round(median(raw_rates), 2),
        "raw_single_p50_ms": _middle_raw(rounds.raw["raw:single"]),
        "raw_lone_p50_ms": _middle_raw(rounds.raw["raw:lone"]),
        "wardgate": {str(clients): _clients(rounds.load[f"wardgate:{clients}"]) for clients in CLIENTS},
        "naive": {"64": _clients(naive)},
        "throughput_64_over_8": _ratio(rates, [_rate(window) for window in rounds.load["wardgate:8"]]),
        "spread": {"wardgate_64": _spread(rates), "raw": _spread(raw_rates)},
        "windows": {name: len(windows) for name, windows in (rounds.load | rounds.raw).items()},
    }


def added_ms(server: Iterable[LoadResult], bare: Iterable[RawResult]) -> float:
    """Median over texts of: median latency through the server, less the bare model's, of the same text."""
    through, alone = _by_text(server), _by_text(bare)
    both = through.keys() & alone.keys()
    if not both:
        raise ValueError("the windows are too short: no text was scored both ways")
    return round(1e3 * median(median(through[text]) - median(alone[text]) for text in both), 3)


def _by_text(windows: Iterable[LoadResult | RawResult]) -> dict[int, list[float]]:
    found: dict[int, list[float]] = defaultdict(list)
    for window in windows:
        for text, latency_s in zip(window.text, window.latency_s, strict=True):
            found[text].append(latency_s)
    return found


def _clients(windows: Sequence[LoadResult]) -> dict[str, float]:
    return {
        "requests_per_s": _middle(windows, _rate),
        "p50_ms": _middle(windows, lambda window: _ms(window, 50)),
        "p99_ms": _middle(windows, lambda window: _ms(window, 99)),
        "server_cpu_ms_per_request": _middle(windows, lambda window: 1e3 * window.server_cpu_s / len(window.text)),
        "client_cpu_ms_per_request": _middle(windows, lambda window: 1e3 * window.client_cpu_s / len(window.text)),
        "requests": sum(len(window.text) for window in windows),
        "errors": sum(window.errors for window in windows),
    }


def _rate(window: LoadResult) -> float:
    return len(window.text) / window.seconds


def _ms(window: LoadResult, percentile: float) -> float:
    return float(np.percentile(window.latency_s, percentile)) * 1e3


def _middle(windows: Iterable[LoadResult], figure: Callable[[LoadResult], float]) -> float:
    return round(median(figure(window) for window in windows), 3)


def _middle_raw(windows: Iterable[RawResult]) -> float:
    return round(1e3 * median(median(window.latency_s) for window in windows), 3)


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Of windows of the same round, which stand close in time."""
    return round(median(mine / other for mine, other in zip(ours, theirs, strict=True)), 3)


def _spread(rates: Sequence[float]) -> list[float]:
    return [round(min(rates), 2), round(max(rates), 2)]
