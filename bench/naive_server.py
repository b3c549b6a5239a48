"""The server most people write first: transformers' tokenizer and torch behind gRPC, one request, one forward.

The same encoder and heads as ours and the same contract, so that only the serving differs.
`python -m bench.naive_server CONFIG PORT`
"""

from __future__ import annotations

import sys
from concurrent import futures
from pathlib import Path

import grpc
import torch
from transformers import AutoTokenizer

from bench.load import METHOD
from guards.rewards.manifest import load_manifest
from guards.rewards.reward_model import EMBEDDED_DIR
from guards.rewards.torch_model import load_network
from service.config import load_settings
from service.models import ModelCache
from wardgate.v1 import decision_pb2 as decisions
from wardgate.v1 import guardrail_pb2 as guardrail

_HANDLERS = 10
_MAX_TOKENS = 256


class NaiveClassifier:
    """Text -> risk in [0, 1] of every head; longer texts are cut, as a pipeline does."""

    def __init__(self, config: Path) -> None:
        settings = load_settings(config)
        artefact = settings.scoring.artefact or EMBEDDED_DIR
        encoder = ModelCache(settings.model_cache).path(settings.scoring.encoder)
        self._manifest, _ = load_manifest(artefact)
        self._tokenizer = AutoTokenizer.from_pretrained(str(encoder), local_files_only=True)
        self._network = load_network(self._manifest, artefact, encoder)

    def __call__(self, text: str) -> list[float]:
        tokens = self._tokenizer(
            [text], padding="longest", truncation=True, max_length=_MAX_TOKENS, return_tensors="pt"
        )
        with torch.inference_mode():
            rewards = self._network(
                tokens["input_ids"], tokens["attention_mask"], torch.zeros_like(tokens["input_ids"])
            )[0].tolist()
        return [head.calibration.risk(reward) for head, reward in zip(self._manifest.heads, rewards, strict=True)]


def main(config: str, port: str) -> None:
    classify = NaiveClassifier(Path(config))

    def check(request: guardrail.CheckRequest, context: grpc.ServicerContext) -> guardrail.CheckResponse:
        risks = classify(request.messages[0].parts[0].text)
        action = decisions.ACTION_BLOCK if max(risks) > 0.5 else decisions.ACTION_ALLOW
        return guardrail.CheckResponse(decision=decisions.Decision(action=action))

    service, method = METHOD.strip("/").split("/")
    handler = grpc.unary_unary_rpc_method_handler(
        check, guardrail.CheckRequest.FromString, guardrail.CheckResponse.SerializeToString
    )
    server = grpc.server(futures.ThreadPoolExecutor(_HANDLERS))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main(*sys.argv[1:])
