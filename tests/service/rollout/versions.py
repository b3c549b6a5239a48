"""Tiny versions of a reward model that tell the known texts apart, or do not, as a test asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from guards.base import ScoreInput
from guards.normalize import normalize
from guards.rewards.manifest import Calibration, Kind
from guards.rewards.reward_model import load_reward_model
from service.config import Settings
from service.rollout.loaded import KNOWN_SAFE, KNOWN_UNSAFE
from tests.guards.rewards.tiny_model import KINDS, write_artefact

ADMIN = "admin-token-0123456789"
USER = "ordinary-token-0123456789"
REQUEST_POLICY = """
name: default
version: "1"
request: [{kind: reward, name: risk, timeout_s: 60, head: request_risk, thresholds: {block: 0.8}}]
safe_messages: {en: "I can't help with that."}
"""
FLAT = Calibration(method="platt", a=1e-6, b=0.0, id="flat")  # every text has the same risk


@dataclass(frozen=True)
class Versions:
    """`root` has the encoder, the configured artefact "1" and the folder of others."""

    root: Path

    @property
    def encoder(self) -> Path:
        return self.root / "encoder"

    @property
    def directory(self) -> Path:
        return self.root / "versions"

    @property
    def configured(self) -> Path:
        return self.root / "configured"

    @property
    def state(self) -> Path:
        return self.directory / "rollout.json"

    def add(self, version: str, folder: Path | None = None, kinds: Mapping[str, Kind] = KINDS, shift: float = 0) -> str:
        """A sound version; gives its digest. `shift` in risk logits makes it find everything riskier."""
        folder = folder or self.directory / version
        for seed in range(100):
            write_artefact(folder, self.encoder, version, seed, kinds=kinds)
            safe, unsafe = self._rewards(folder)
            if unsafe < safe:  # a random head does in half the cases
                slope = 4 / (safe - unsafe)
                fitted = Calibration(
                    method="platt", a=slope, b=-slope * (safe + unsafe) / 2 - shift, id=f"fit-{version}"
                )
                return write_artefact(folder, self.encoder, version, seed, fitted, kinds)
        raise AssertionError("no seed separates the known texts")

    def add_blind(self, version: str) -> str:
        return write_artefact(self.directory / version, self.encoder, version, calibration=FLAT)

    def _rewards(self, folder: Path) -> tuple[float, float]:
        model = load_reward_model(folder, self.encoder, runtime="torch")
        scores = model.score([ScoreInput(normalize(text)) for text in (KNOWN_SAFE, KNOWN_UNSAFE)])
        safe, unsafe = (text.heads["request_risk"].reward for text in scores)
        return safe, unsafe

    def settings(self, **sections: object) -> Settings:
        """Free ports, torch (which needs no export), and the folder of versions."""
        given = {
            "grpc": {"port": 0, "drain_s": 2.0, "admin_tokens_file": self.admin_tokens},
            "http": {"port": 0},
            "backend": {"kind": "none"},
            "scoring": {
                "runtime": "torch",
                "artefact": self.configured,
                "encoder": f"file:{self.encoder}",
                "workers": 2,
            },
            "rollout": {"directory": self.directory},
            "policies": {"directory": self.policies},
            "store": {"url": f"sqlite:///{self.root}/store.db"},
            "model_cache": self.root / "cache",
        }
        return Settings(**given | sections)  # type: ignore[arg-type]

    @property
    def admin_tokens(self) -> Path:
        return self.root / "admins"

    @property
    def policies(self) -> Path:
        return self.root / "policies"
