from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from guards.base import ScoreInput
from guards.errors import ModelError
from guards.explainers.explain import RewardExplainer
from guards.explainers.explained_head import ExplainedHead
from guards.explainers.tokens import token_windows
from guards.explainers.window import TokenWindow
from guards.normalize import normalize
from guards.rewards.encoding import TextEncoder
from guards.rewards.manifest import PartsSpec, PoolingSpec, SentencesSpec, WindowSpec, load_manifest
from guards.rewards.reward_model import EMBEDDED_DIR
from guards.rewards.torch_model import RewardNetwork, load_network
from service.config import load_settings
from service.models import ModelCache
from tests.guards.rewards.tiny_model import POOLING, WINDOW, TinyModel, write_artefact, write_encoder


@dataclass(frozen=True)
class Opened:
    network: RewardNetwork
    encoder: TextEncoder
    explainer: RewardExplainer
    artefact_dir: Path
    encoder_dir: Path

    def head(self, name: str) -> ExplainedHead:
        return self.explainer.heads[name]

    def window(self, prompt: str, response: str | None = None) -> TokenWindow:
        return self.windows(prompt, response)[0]

    def windows(self, prompt: str, response: str | None = None) -> tuple[TokenWindow, ...]:
        return token_windows(self.encoder, item(prompt, response), 8)


def item(prompt: str, response: str | None = None) -> ScoreInput:
    return ScoreInput(normalize(prompt), None if response is None else normalize(response))


def opened(artefact_dir: Path, encoder_dir: Path) -> Opened:
    manifest, _ = load_manifest(artefact_dir)
    network = load_network(manifest, artefact_dir, encoder_dir)
    encoder = TextEncoder.from_file(encoder_dir / "tokenizer.json", manifest.window)
    return Opened(network, encoder, RewardExplainer(network, encoder, 8), artefact_dir, encoder_dir)


def tiny(root: Path, pooling: PoolingSpec = POOLING, window: WindowSpec = WINDOW) -> Opened:
    """Random weights, two layers, windows of 12 tokens."""
    model = TinyModel(root / "artefact", root / "encoder")
    write_encoder(model.encoder_dir)
    write_artefact(model.artefact_dir, model.encoder_dir, pooling=pooling, window=window)
    return opened(model.artefact_dir, model.encoder_dir)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """All kinds of pooling."""
    return tiny(tmp_path_factory.mktemp("explained"))


@pytest.fixture(scope="session")
def in_parts(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """A prompt of more than 8 tokens is read in parts as well."""
    pooling = PoolingSpec(layers=(2, 1), kinds=("mean",), parts=PartsSpec(size=8, stride=2, least=2))
    return tiny(tmp_path_factory.mktemp("explained_in_parts"), pooling=pooling)


@pytest.fixture(scope="session")
def by_sentence(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """A prompt's sentences are read alone as well."""
    window = WINDOW.model_copy(update={"sentences": SentencesSpec(least=3, from_tokens=8)})
    return tiny(tmp_path_factory.mktemp("explained_by_sentence"), window=window)


@pytest.fixture(scope="session")
def embedded() -> Opened:
    try:
        encoder_dir = ModelCache(load_settings(None).model_cache).path("minilm-l6")
    except ModelError as error:
        pytest.skip(f"the embedded models are not in the cache: {error}")
    return opened(EMBEDDED_DIR, encoder_dir)
