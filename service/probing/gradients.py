"""Classifiers for gradient probes, opened in torch by the name of a head or of a model in `models:`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from guards.errors import ConfigError, UnknownName
from guards.policy import Policy
from guards.probes.gradient.decision_point import turning_reward
from guards.rewards.checkpoints.model import open_checkpoint
from guards.rewards.guard import RewardGuard
from guards.rewards.manifest import Calibration
from service.config import Settings
from service.models import ModelCache
from service.rollout.catalogue import Artefact

if TYPE_CHECKING:  # brings torch
    from guards.probes.gradient.classifier import DifferentiableClassifier


class GradientOpener:
    """Classifiers by the name of a head, decided at the policy's threshold; as "HEAD@0.5" at that risk; as
    "NAME:labels" all labels of a model in `models:`. Each is loaded once."""

    def __init__(self, settings: Settings, artefact: Artefact, policy: Policy, heads: Sequence[str]) -> None:
        """`artefact`: the version that is active; `heads`: of every model, for messages."""
        self._settings = settings
        self._artefact = artefact
        self._policy = policy
        self._heads = heads
        self._opened: dict[str, DifferentiableClassifier] = {}

    def __call__(self, name: str) -> DifferentiableClassifier:
        """Raises UnknownName, or ConfigError when the policy in force withholds nothing by that head."""
        if name not in self._opened:
            self._opened[name] = self._open(name)
        return self._opened[name]

    def _open(self, name: str) -> DifferentiableClassifier:
        import torch  # heavy

        from guards.probes.gradient import checkpoint, reward_head

        torch.set_num_threads(1)  # one number for the whole process, which is the probes' own
        settings, artefact = self._settings, self._artefact
        cache = ModelCache(settings.model_cache)
        specs = {spec.name: spec for spec in artefact.manifest.heads}
        head, _, threshold = name.partition("@")
        if head in specs:
            turn = self._turn(head, threshold, artefact.digest, specs[head].calibration)
            return reward_head.open_reward_head(artefact.folder, cache.path(settings.scoring.encoder), head, turn)
        for model in settings.models:
            folder = cache.path(model.source)
            opened = open_checkpoint(model.name, model.reading, folder)
            if name == f"{model.name}:labels":
                return checkpoint.open_checkpoint_labels(opened, folder)
            if head in opened.readout.heads:
                turn = self._turn(head, threshold, opened.digest, model.reading.calibrated())
                return checkpoint.open_checkpoint_head(opened, head, turn)
        labels = [f"{model.name}:labels" for model in settings.models if model.reading.kind == "classifier"]
        raise UnknownName("head", name, (*self._heads, *labels))

    def _turn(self, head: str, threshold: str, digest: str, own: Calibration) -> float:
        """The reward up to which the policy withholds a text by this head; the strictest guard counts."""
        if threshold:
            return turning_reward(head, own.risk, _risk(head, threshold))
        policy = self._policy
        turns = []
        for member in (*policy.request, *policy.response):
            if not isinstance(member.guard, RewardGuard) or member.guard.head != head:
                continue
            calibration = member.guard.calibration_for(digest)
            rungs = [rung.threshold for rung in member.guard.rungs(calibration) if rung.action.withholds]
            if rungs:
                mapped = calibration.risk_map if calibration else None
                turns.append(turning_reward(head, (mapped or own).risk, min(rungs)))
        if not turns:
            raise ConfigError(
                f"policy '{policy.name}' withholds nothing by head '{head}'; name a risk, as in '{head}@0.5'"
            )
        return max(turns)


def _risk(head: str, written: str) -> float:
    try:
        risk = float(written)
    except ValueError:
        risk = -1.0
    if not 0 < risk <= 1:
        raise ConfigError(f"the threshold of '{head}@...' is no risk over 0 and up to 1")
    return risk
