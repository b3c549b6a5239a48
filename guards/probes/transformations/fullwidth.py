"""ASCII in its full-width forms, as CJK fonts draw it.

Sources: Unicode UAX #15 (compatibility forms); Hackett et al. 2025, "Bypassing Prompt Injection and Jailbreak
Detection in LLM Guardrails" (arXiv:2504.11168). Departures: none; the space becomes U+3000.

Severity: the probability that a printable ASCII character is replaced.
"""

from __future__ import annotations

import random

from guards.probes.transformations.base import Transformation

_TABLE = {chr(code): chr(code + 0xFEE0) for code in range(0x21, 0x7F)} | {" ": "\u3000"}


def _rewrite(text: str, rng: random.Random, severity: float) -> str:
    return "".join(_TABLE[char] if char in _TABLE and rng.random() < severity else char for char in text)


FULLWIDTH = Transformation("fullwidth", "look-alike", True, True, _rewrite)
