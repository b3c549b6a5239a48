"""A kind of probe as an installed package would bring it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from guards.probes.base import Measured, ProbeKind, Setting, Trial, Unit
from guards.probes.registry import ProbeType, probe_types
from guards.probes.targets import Need, Targets
from tests.plugins import installed_package


class CountConfig(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    units: int = 3
    raises_at: int = -1
    needs_model: bool = False


class Count:
    """Unit n succeeds when the seed and n are both even or both odd."""

    def __init__(self, config: CountConfig) -> None:
        self.name = config.name
        self.needs = frozenset({Need.MODEL}) if config.needs_model else frozenset[Need]()
        self._config = config

    def units(self, seed: int) -> Iterator[Unit]:
        for number in range(self._config.units):

            def run(targets: Targets, number: int = number) -> tuple[Measured, ...]:
                if number == self._config.raises_at:
                    raise RuntimeError("a fault of the probe")
                setting = Setting(self.name, "nothing", "counting", ProbeKind.ATTACK, {"parity": seed % 2})
                return (Measured(setting, (Trial(str(number), success=number % 2 == seed % 2),)),)

            yield Unit(f"{self.name}/{number}", 1, run)


KIND = ProbeType(CountConfig, Count)
NOT_A_KIND = Count


@contextmanager
def installed(folder: Path, **points: str) -> Iterator[None]:
    """As if pip had installed a package with these kinds of probe, by default `count`."""
    with installed_package(folder, "wardgate.probes", points or {"count": f"{__name__}:KIND"}):
        probe_types.cache_clear()
        try:
            yield
        finally:
            probe_types.cache_clear()
