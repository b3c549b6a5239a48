"""The words a request may use for a method. Free of torch; `methods.py` has what they stand for."""

from __future__ import annotations

from guards.errors import UnknownName

FAST, EXACT, AUTO = "fast", "exact", "auto"
WORDS = (FAST, EXACT, AUTO)

METHOD_NAMES = (
    "attention",
    "rollout",
    "gradient_attention",
    "gradient_input",
    "saliency",
    "integrated_gradients",
    "integrated_gradients_pad",
    "occlusion",
    "greedy_masking",
)


def check_method(name: str) -> None:
    """Raises UnknownName that lists all."""
    if name not in WORDS and name not in METHOD_NAMES:
        raise UnknownName("explanation method", name, (*WORDS, *METHOD_NAMES))
