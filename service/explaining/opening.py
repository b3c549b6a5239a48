"""What the explaining process is told of the settings, before any model is opened."""

from __future__ import annotations

from guards.errors import PreconditionFailed
from service.config import Settings, TransformersSettings
from service.explaining.work import ChildSettings


def child_settings(settings: Settings) -> ChildSettings:
    backend = settings.backend
    return ChildSettings(
        encoder=settings.scoring.encoder,
        model_cache=settings.model_cache,
        max_windows=settings.scoring.max_windows,
        niceness=settings.explanations.niceness,
        threads=settings.explanations.threads,
        generator=backend.model if isinstance(backend, TransformersSettings) else None,
    )


def explainable_generator(settings: Settings) -> str | PreconditionFailed:
    """The wrapped model's name where its weights are at hand, else why it cannot be explained."""
    if isinstance(settings.backend, TransformersSettings):
        return settings.backend.model
    what = "no wrapped model is configured" if settings.backend.kind == "none" else "the wrapped model is remote"
    fault = f"{what}, and what a model wrote is explained from its weights: that takes backend.kind transformers"
    return PreconditionFailed(fault, kind="BACKEND", subject="backend")
