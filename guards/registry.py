"""Kinds of guard that a policy can name: ours, and those of installed packages.

A package adds one through the entry-point group `wardgate.guards`, whose value is a GuardKind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel

from guards.base import Guard
from guards.plugins import with_installed
from guards.rewards.guard import RewardGuard, RewardGuardConfig
from guards.rules.obfuscated import ObfuscatedConfig, ObfuscatedGuard
from guards.rules.patterns import PatternConfig, PatternGuard
from guards.rules.sensitive import SensitiveDataConfig, SensitiveDataGuard

ENTRY_POINT_GROUP = "wardgate.guards"


@dataclass(frozen=True, slots=True)
class GuardKind:
    """`config` validates the guard's own settings in a policy; `build` makes the guard from them."""

    config: type[BaseModel]
    build: Callable[[Any], Guard]


BUILT_IN: Mapping[str, GuardKind] = MappingProxyType(
    {
        "reward": GuardKind(RewardGuardConfig, RewardGuard),
        "obfuscated": GuardKind(ObfuscatedConfig, ObfuscatedGuard),
        "patterns": GuardKind(PatternConfig, PatternGuard),
        "sensitive_data": GuardKind(SensitiveDataConfig, SensitiveDataGuard),
    }
)


@lru_cache(maxsize=1)
def guard_kinds() -> Mapping[str, GuardKind]:
    """Every kind by name. Raises ConfigError when two packages claim one name."""
    return with_installed(BUILT_IN, ENTRY_POINT_GROUP, "guard kind", GuardKind, "guards.registry.GuardKind")
