"""Classifiers by name, for probes: one of `models:` with its labels, or a head decided at the policy's threshold."""

from __future__ import annotations

from collections.abc import Callable

from guards.errors import UnknownName
from guards.probes.labelled.head_classifier import HeadClassifier
from guards.probes.targets import ClassifierTarget, ScoresTarget
from service.config import Settings
from service.models import ModelCache


def classifier_opener(settings: Settings, scores: ScoresTarget) -> Callable[[str], ClassifierTarget]:
    """Each is loaded once, with its first use. Of a model and a head of one name the model is taken."""
    opened: dict[str, ClassifierTarget] = {}
    readings = {model.name: model for model in settings.models if model.reading.kind == "classifier"}

    def load(name: str) -> ClassifierTarget:
        if model := readings.get(name):
            from guards.rewards.checkpoints.label_probabilities import LabelProbabilities  # heavy: brings torch

            folder = ModelCache(settings.model_cache).path(model.source)
            return LabelProbabilities(model.reading, folder, model.device, model.dtype)
        if name not in scores.heads:
            raise UnknownName("classifier", name, (*readings, *scores.heads))
        return HeadClassifier(scores, name)

    def open_one(name: str) -> ClassifierTarget:
        if name not in opened:
            opened[name] = load(name)
        return opened[name]

    return open_one
