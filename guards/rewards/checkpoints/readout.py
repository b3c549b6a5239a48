"""What one kind of checkpoint has: heads, and a network that gives their rewards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from guards.rewards.checkpoints.network import Network

# `attention`: eager or sdpa, None for what transformers thinks best
LoadNetwork = Callable[[str | None], "Network"]


@dataclass(frozen=True, slots=True)
class Readout:
    """`load` needs torch and the weights; the rest is known from the small files."""

    heads: tuple[str, ...]
    load: LoadNetwork
