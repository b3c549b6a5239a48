"""Kinds of probe that a suite can name: ours, and those of installed packages.

A package adds one through the entry-point group `wardgate.probes`, whose value is a ProbeType.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel

from guards.plugins import with_installed
from guards.probes.base import Probe
from guards.probes.gradient.embedding_attack import EmbeddingAttack, EmbeddingAttackConfig
from guards.probes.gradient.word_flips import WordFlips, WordFlipsConfig
from guards.probes.guard.disguise import Disguise, DisguiseConfig
from guards.probes.labelled.probe import LabelledTexts, LabelledTextsConfig
from guards.probes.model.common_sense import CommonSense, CommonSenseConfig
from guards.probes.model.consistency import Consistency, ConsistencyConfig
from guards.probes.model.direction import Direction, DirectionConfig
from guards.probes.model.identity_swap import IdentitySwap, IdentitySwapConfig
from guards.probes.model.invariance import Invariance, InvarianceConfig
from guards.probes.model.jailbreak import Jailbreak, JailbreakConfig
from guards.probes.model.over_refusal import OverRefusal, OverRefusalConfig
from guards.probes.model.stress import Stress, StressConfig
from guards.probes.model.tool_injection import ToolInjection, ToolInjectionConfig
from guards.probes.reward.formatting import Formatting, FormattingConfig
from guards.probes.reward.length_bias import LengthBias, LengthBiasConfig
from guards.probes.reward.prompt_ignoring import PromptIgnoring, PromptIgnoringConfig
from guards.probes.reward.refusal_bias import RefusalBias, RefusalBiasConfig
from guards.probes.reward.sycophancy import Sycophancy, SycophancyConfig
from guards.probes.words.probe import WordAttack, WordScrambleConfig, WordSubstitutionConfig

ENTRY_POINT_GROUP = "wardgate.probes"


@dataclass(frozen=True, slots=True)
class ProbeType:
    """`config` validates a probe's settings in a suite; `build` makes the probe from them."""

    config: type[BaseModel]
    build: Callable[[Any], Probe]


BUILT_IN: Mapping[str, ProbeType] = MappingProxyType(
    {
        "disguise": ProbeType(DisguiseConfig, Disguise),
        "embedding_attack": ProbeType(EmbeddingAttackConfig, EmbeddingAttack),
        "hotflip": ProbeType(WordFlipsConfig, WordFlips),
        "labelled_texts": ProbeType(LabelledTextsConfig, LabelledTexts),
        "word_scramble": ProbeType(WordScrambleConfig, WordAttack),
        "word_substitution": ProbeType(WordSubstitutionConfig, WordAttack),
        "common_sense": ProbeType(CommonSenseConfig, CommonSense),
        "consistency": ProbeType(ConsistencyConfig, Consistency),
        "direction": ProbeType(DirectionConfig, Direction),
        "identity_swap": ProbeType(IdentitySwapConfig, IdentitySwap),
        "invariance": ProbeType(InvarianceConfig, Invariance),
        "jailbreak": ProbeType(JailbreakConfig, Jailbreak),
        "over_refusal": ProbeType(OverRefusalConfig, OverRefusal),
        "stress": ProbeType(StressConfig, Stress),
        "tool_injection": ProbeType(ToolInjectionConfig, ToolInjection),
        "formatting": ProbeType(FormattingConfig, Formatting),
        "length_bias": ProbeType(LengthBiasConfig, LengthBias),
        "prompt_ignoring": ProbeType(PromptIgnoringConfig, PromptIgnoring),
        "refusal_bias": ProbeType(RefusalBiasConfig, RefusalBias),
        "sycophancy": ProbeType(SycophancyConfig, Sycophancy),
    }
)


@lru_cache(maxsize=1)
def probe_types() -> Mapping[str, ProbeType]:
    """Every kind by name. Raises ConfigError when two packages claim one name."""
    return with_installed(BUILT_IN, ENTRY_POINT_GROUP, "probe kind", ProbeType, "ProbeType")
