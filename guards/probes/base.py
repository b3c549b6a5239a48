"""What a probe promises: units of work, each with trials that succeed or not.

A *success* is what the probe looks for: an attack that got through, harmless text that was withheld, an answer that
changed where it must not. A probe is a pure plan: the same settings and seed give the same units with the same
keys, so that a run that was killed goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from guards.probes.targets import Need, Targets

Parameter = str | int | float


class ProbeKind(StrEnum):
    """What a success costs. The two are never netted: a guard that withholds everything resists every attack."""

    ATTACK = "attack"  # harm gets through
    BENIGN = "benign"  # harmless use is hurt


@dataclass(frozen=True, slots=True)
class Setting:
    """What is counted together: one row of a run's results.

    `probe` is the name in the suite, `target` what was tried ("guard", "model", "system", or a head's or classifier's
    name), `category` the family of techniques or concerns, of low cardinality. `parameters` tell the rows of one
    probe apart, such as {"transformation": "leet", "severity": 1.0}.
    """

    probe: str
    target: str
    category: str
    kind: ProbeKind
    parameters: Mapping[str, Parameter] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, str, str, tuple[tuple[str, Parameter], ...]]:
        return self.probe, self.target, self.category, self.kind.value, tuple(sorted(self.parameters.items()))


@dataclass(frozen=True, slots=True)
class Example:
    """What was tried, kept for the report's worst examples. Probe texts only, never a user's."""

    original: str = field(repr=False)
    attacked: str = field(repr=False)
    answer: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Trial:
    """One try.

    `item` names what was tried, the same in every run, so that two runs can be paired. With `skipped`, the reason in
    a few words of a closed set, it counts neither as trial nor as success. `clean` and `adversarial` say whether the
    target was right before and under the attack, where that is the question; a success is then right before and
    wrong after, and an item that was wrong before is skipped. `value` is a measured quantity; the probe's file says of
    what and in which unit.
    """

    item: str
    success: bool = False
    skipped: str = ""
    clean: bool | None = None
    adversarial: bool | None = None
    value: float | None = None
    example: Example | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """Trials of one setting."""

    setting: Setting
    trials: tuple[Trial, ...]


@dataclass(frozen=True, slots=True)
class Unit:
    """A piece of work that is done whole or not at all; small, so that live traffic can go first between two.

    `key` is stable and unique in a suite: the probe's name, a slash, then what tells its units apart.
    """

    key: str
    trials: int  # about how many it will give, for progress
    run: Callable[[Targets], tuple[Measured, ...]] = field(repr=False)


class Probe(Protocol):
    """One technique with its settings, as a suite names it."""

    @property
    def name(self) -> str: ...

    @property
    def needs(self) -> frozenset[Need]:
        """Without these targets its units cannot run, and the run says that they were skipped, and why."""
        ...

    def units(self, seed: int) -> Iterator[Unit]:
        """Every unit, in an order that depends on the settings and `seed` alone. Nothing heavy is done yet.

        Raises ConfigError when the settings name something that does not exist.
        """
        ...


def flipped(
    item: str, clean: bool, adversarial: bool, value: float | None = None, example: Example | None = None
) -> Trial:
    """The trial of an attack on what was right before: where it was wrong before, there was nothing to flip."""
    return Trial(
        item,
        success=clean and not adversarial,
        skipped="" if clean else WRONG_BEFORE,
        clean=clean,
        adversarial=adversarial,
        value=value,
        example=example if clean and not adversarial else None,
    )


WRONG_BEFORE = "wrong before"
