"""Check under load, against the bare model and against the server most people write first.

`python -m bench.check` measures in alternating windows over the same texts and writes bench/results/check.json;
bench/README.md says what each figure means.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import yaml
from tqdm import tqdm

from bench.load import METHOD, LoadPlan, LoadResult, check_requests, run_load
from bench.machine import machine, versions
from bench.processes import Memory, ServerProcess, free_port, server
from bench.raw import RawProcess, RawResult, Way
from bench.report import Rounds, report

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Options:
    rounds: int
    window_s: float
    warm_up_s: float
    texts: int
    starts: int
    config: Path | None
    out: Path
    date: str


@dataclass(slots=True)
class _Wardgate:
    """Our server: how often it was started, and the config all processes share."""

    config: Path
    port: int
    folder: Path
    cold_start_s: list[float] = field(default_factory=list)

    @contextlib.contextmanager
    def running(self) -> Iterator[ServerProcess]:
        arguments = ["-m", "service", "serve", "--config", str(self.config)]
        with server(arguments, self.port, self.folder / "wardgate.log") as process:
            _first_score(process.address)
            self.cold_start_s.append(time.monotonic() - process.started)
            yield process


def _first_score(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        channel.unary_unary(METHOD, None, None)(check_requests(1)[0], timeout=60, wait_for_ready=True)


_WAYS: dict[str, Way] = {"batched": "batched", "single": "single", "lone": "lone"}


def write_config(base: Path | None, port: int, folder: Path) -> Path:
    """The base settings with free ports and no wrapped model: scoring only."""
    settings = (yaml.safe_load(base.read_text()) or {}) if base else {}
    settings["grpc"] = {**settings.get("grpc", {}), "host": "127.0.0.1", "port": port}
    settings["http"] = {**settings.get("http", {}), "host": "127.0.0.1", "port": free_port()}
    settings["backend"] = {"kind": "none"}
    path = folder / "bench.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def measure(options: Options) -> Rounds:
    """All windows. The order alternates from round to round, so that drift of the machine hits all alike."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        ports = (free_port(), free_port())
        config = write_config(options.config, ports[0], folder)
        wardgate = _Wardgate(config, ports[0], folder)
        for _ in range(options.starts - 1):
            with wardgate.running():
                pass
        ours = stack.enter_context(wardgate.running())
        naive_arguments = ["-m", "bench.naive_server", str(config), str(ports[1])]
        naive = stack.enter_context(server(naive_arguments, ports[1], folder / "naive.log"))
        _first_score(naive.address)
        raw = RawProcess(config, options.texts)
        stack.callback(raw.close)
        rounds = Rounds(cold_start_s=wardgate.cold_start_s, memory=Memory(0, 0))
        _run_rounds(options, ours, naive, raw, rounds)
        rounds.memory = ours.memory()
        return rounds


def _run_rounds(options: Options, ours: ServerProcess, naive: ServerProcess, raw: RawProcess, rounds: Rounds) -> None:
    def load(target: ServerProcess, clients: int) -> LoadResult:
        plan = LoadPlan(target.address, target.pid, clients, options.texts, options.warm_up_s, options.window_s)
        return run_load(plan)

    def one(name: str) -> LoadResult | RawResult:
        kind, _, detail = name.partition(":")
        if kind == "raw":
            return raw.measure(_WAYS[detail], options.window_s)
        return load(ours if kind == "wardgate" else naive, int(detail))

    steps = ["raw:batched", "wardgate:64", "naive:64", "wardgate:32"]
    steps += ["raw:single", "wardgate:1", "raw:lone", "wardgate:8"]
    bar = tqdm(total=options.rounds * len(steps), desc="windows", unit="window", disable=not sys.stderr.isatty())
    with bar:
        for number in range(options.rounds):
            for name in steps if number % 2 == 0 else reversed(steps):
                bar.set_postfix_str(name)
                rounds.add(name, one(name))
                bar.update()


def _options(arguments: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(prog="python -m bench.check", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke test of one minute; its figures mean nothing")
    parser.add_argument("--rounds", type=int, default=5, help="windows of each kind")
    parser.add_argument("--window-s", type=float, default=14.0)
    parser.add_argument("--texts", type=int, default=256)
    parser.add_argument("--config", type=Path, help="settings to start from; ports and backend are replaced")
    parser.add_argument("--out", type=Path, help="default: bench/results/check.json, or check-quick.json in /tmp")
    parser.add_argument("--date", default=datetime.datetime.now(datetime.UTC).date().isoformat())
    given = parser.parse_args(arguments)
    quick = bool(given.quick)
    out = given.out or (Path(tempfile.gettempdir()) / "check-quick.json" if quick else RESULTS / "check.json")
    return Options(
        rounds=1 if quick else given.rounds,
        window_s=3.0 if quick else given.window_s,
        warm_up_s=1.0 if quick else 2.0,
        texts=64 if quick else given.texts,
        starts=1 if quick else 3,
        config=given.config,
        out=out,
        date=given.date,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    figures = report(measure(options))
    document = {
        "date": options.date,
        "machine": machine(),
        "versions": versions(),
        "rounds": options.rounds,
        "window_s": options.window_s,
        "texts": options.texts,
        **figures,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(figures, indent=1))
    print(f"written to {options.out}")


if __name__ == "__main__":
    main()
