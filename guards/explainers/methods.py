"""Every explainer by name, and what the words FAST, EXACT and AUTO stand for."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from guards.explainers.base import Explainer
from guards.explainers.gradient_attention import GradientAttention
from guards.explainers.gradient_input import GradientInput, Saliency
from guards.explainers.greedy_masking import GreedyMasking
from guards.explainers.integrated_gradients import IntegratedGradients
from guards.explainers.names import AUTO, EXACT, FAST, check_method
from guards.explainers.occlusion import Occlusion
from guards.explainers.raw_attention import RawAttention
from guards.explainers.rollout import Rollout

METHODS: Mapping[str, Explainer] = MappingProxyType(
    {
        one.name: one
        for one in (
            RawAttention(),
            Rollout(),
            GradientAttention(),
            GradientInput(),
            Saliency(),
            IntegratedGradients(),
            IntegratedGradients(baseline="pad", name="integrated_gradients_pad"),
            Occlusion(),
            GreedyMasking(),
        )
    }
)

# What AUTO tries, in order of cost, as long as the time lasts; it keeps the one that proves most faithful.
CANDIDATES = ("gradient_attention", "integrated_gradients", "occlusion", "greedy_masking")

_WORDS = {FAST: ("gradient_attention",), EXACT: ("integrated_gradients",), AUTO: CANDIDATES}


def candidates(method: str) -> tuple[Explainer, ...]:
    """The explainers that a request's `method` allows. Raises UnknownName that lists all."""
    check_method(method)
    return tuple(METHODS[name] for name in _WORDS.get(method, (method,)))
