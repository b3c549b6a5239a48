"""What a request costs without its forward: the whole server around a runtime that answers at once.

`python -m bench.overhead [--config FILE]` prints latency and CPU per Check at 1 and 64 clients: gRPC, decoding,
normalizing, tokenizing, guards without a model, batcher, decision, metrics and the decision record.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.check import write_config
from bench.load import LoadPlan, run_load
from bench.processes import free_port, server
from guards.rewards.encoding import TextEncoder
from guards.rewards.manifest import load_manifest
from guards.rewards.reward_model import EMBEDDED_DIR, RewardModel
from guards.rewards.runtimes.base import FloatArray, TokenBatch
from service.app import App
from service.config import load_settings
from service.models import ModelCache

_WARM_UP_S = 0.5


@dataclasses.dataclass
class InstantRuntime:
    """Reward 0 for everything."""

    heads: Sequence[str]
    name: str = "instant"

    def forward(self, batch: TokenBatch) -> FloatArray:
        return np.zeros((len(batch.input_ids), len(self.heads)), dtype=np.float32)


async def serve(config: Path) -> None:
    settings = load_settings(config)
    artefact = settings.scoring.artefact or EMBEDDED_DIR
    manifest, digest = load_manifest(artefact)
    tokenizer = ModelCache(settings.model_cache).path(settings.scoring.encoder) / "tokenizer.json"
    encoder = TextEncoder.from_file(tokenizer, manifest.window)
    model = RewardModel(manifest, digest, encoder, InstantRuntime(manifest.head_names))
    await App(settings, model).run()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.overhead", description=__doc__)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--window-s", type=float, default=5.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        config = write_config(options.config, port, folder)
        with server(["-m", "bench.overhead", "--serve", str(config)], port, folder / "log") as process:
            for clients in (1, 64):
                plan = LoadPlan(process.address, process.pid, clients, 256, _WARM_UP_S, options.window_s)
                result = run_load(plan)
                requests = len(result.text)
                p50, p99 = np.percentile(result.latency_s, [50, 99]) * 1e3
                figures = {
                    "clients": clients,
                    "p50_ms": round(float(p50), 3),
                    "p99_ms": round(float(p99), 3),
                    "requests_per_s": round(requests / result.seconds, 1),
                    "server_cpu_ms_per_request": round(1e3 * result.server_cpu_s / requests, 3),
                    "client_cpu_ms_per_request": round(1e3 * result.client_cpu_s / requests, 3),
                    "errors": result.errors,
                }
                print(json.dumps(figures))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        asyncio.run(serve(Path(sys.argv[2])))
    else:
        main()
