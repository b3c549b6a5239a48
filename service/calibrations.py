"""The calibrations in force: one JSON file each, read again whenever policies are.

A file that turns invalid keeps the calibration it had; the failure is logged and counted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from guards.errors import ConfigError
from guards.rewards.calibrated import CalibratedThreshold, Calibrations, DriftStatus, load_calibration

log = logging.getLogger(__name__)


class CalibrationStore:
    """`serving` gives the digests of the reward models that may score, the usual one first; it is asked at every load.

    Without a directory there are no calibrations.
    """

    def __init__(
        self, directory: Path | None, serving: Callable[[], Sequence[str]], drift: DriftStatus | None = None
    ) -> None:
        self.directories = (directory,) if directory else ()
        self._serving = serving
        self._drift = drift
        self._by_file: Mapping[Path, CalibratedThreshold] = {}

    def files(self) -> list[Path]:
        return sorted(file for directory in self.directories for file in directory.glob("*.json"))

    def load(self) -> Calibrations:
        """First load; every file must be valid. Raises ConfigError."""
        for directory in self.directories:
            if not directory.is_dir():
                raise ConfigError(f"calibrations.directory {directory} is no folder; `wardgate calibrate` makes it")
        return self._adopt({file: load_calibration(file) for file in self.files()})

    def reload(self) -> tuple[Calibrations, int]:
        """What is valid, with the number of faults."""
        found: dict[Path, CalibratedThreshold] = {}
        faults = 0
        for file in self.files():
            try:
                found[file] = load_calibration(file)
            except ConfigError as error:
                faults += 1
                log.error("calibration refused, the one before stays in force", extra={"fault": str(error)})
                if file in self._by_file:
                    found[file] = self._by_file[file]
        try:
            return self._adopt(found), faults
        except ConfigError as error:
            log.error("calibrations refused, those before stay in force", extra={"fault": str(error)})
            return self._built(self._by_file.values()), faults + 1

    def _adopt(self, by_file: Mapping[Path, CalibratedThreshold]) -> Calibrations:
        first: dict[tuple[str, str], Path] = {}
        for file, one in by_file.items():
            before = first.setdefault((one.name, one.reward_model), file)
            if before != file:
                raise ConfigError(
                    f"{file}: {before.name} already is calibration '{one.name}' for the same reward model; delete one"
                )
        self._by_file = by_file
        return self._built(by_file.values())

    def _built(self, found: Iterable[CalibratedThreshold]) -> Calibrations:
        return Calibrations(found, self._serving(), self._drift)
