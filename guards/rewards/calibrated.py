"""A calibration: a threshold on risk with the promise behind it, as one JSON file, and how a guard finds its own.

Several files may share a name when they are for different reward models: the one for the model that scored counts.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, Protocol

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from guards.drift import Reference
from guards.errors import ConfigError
from guards.normalize import NORMALIZER_VERSION
from guards.rewards.isotonic import Isotonic
from guards.rewards.manifest import Calibration
from guards.types import HeadScore, RiskBound

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
CalibrationName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$")]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
RiskMap = Annotated[Calibration | Isotonic, Field(discriminator="method")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class CalibrationError(_Part):
    """Expected calibration error with its 95% interval, of `n` labelled rows; of risks that were not fitted on them."""

    value: Share
    low: Share
    high: Share
    n: int = Field(ge=1)


class CalibratedThreshold(_Part):
    """`wardgate calibrate` writes it; docs/calibration.md says how to read it. Rates are shares in [0, 1]."""

    format: Literal[1] = 1
    name: CalibrationName
    policy: str  # it was made for this policy's traffic
    guard: str
    head: str
    reward_model: Digest
    normalizer: str
    risk_map: RiskMap | None = None  # reward to risk; none keeps the head's own
    threshold: Annotated[float, Field(gt=0.0, le=1.0)]
    n: int = Field(ge=1)
    alpha: Annotated[float, Field(gt=0.0, lt=1.0)]  # target false-block rate
    delta: Annotated[float, Field(gt=0.0, lt=1.0)]  # 1 - confidence
    bound: Share  # upper confidence bound of the false-block rate at the threshold
    realised: Share  # of the calibration texts
    calibration_error: CalibrationError | None = None
    created: AwareDatetime
    expires: AwareDatetime
    benign_sha256: Digest
    reference: Reference

    @model_validator(mode="after")
    def _consistent(self) -> CalibratedThreshold:
        if self.bound > self.alpha:
            raise ValueError("the bound is above the target rate")
        if self.expires <= self.created:
            raise ValueError("it expires before it was created")
        return self

    @property
    def risk_bound(self) -> RiskBound:
        return RiskBound(target=self.alpha, upper=self.bound, n=self.n, calibrated_at=self.created)

    def risk(self, score: HeadScore) -> float:
        """The risk that the threshold is about."""
        return score.risk if self.risk_map is None else self.risk_map.risk(score.reward)

    @property
    def file_name(self) -> str:
        return f"{self.name}.{self.reward_model[:12]}.json"


class DriftStatus(Protocol):
    def drifted(self, policy: str, calibration: CalibratedThreshold) -> bool:
        """Whether the policy's traffic no longer looks like the calibration's texts."""
        ...


class NoDrift:
    """For where no traffic is watched."""

    def drifted(self, policy: str, calibration: CalibratedThreshold) -> bool:
        return False


class Calibrations:
    """Every calibration in force.

    `serving`: digests of the reward models that may score, the usual one first; empty when unknown.
    """

    def __init__(
        self,
        all_of_them: Iterable[CalibratedThreshold] = (),
        serving: Sequence[str] = (),
        drift: DriftStatus | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._by_key = {(one.name, one.reward_model): one for one in all_of_them}
        self.serving = tuple(serving)
        self.drift = drift or NoDrift()
        self.now = now

    def find(self, name: str, reward_model: str) -> CalibratedThreshold | None:
        return self._by_key.get((name, reward_model))

    def named(self, name: str) -> tuple[CalibratedThreshold, ...]:
        """One per reward model."""
        return tuple(one for (known, _), one in self._by_key.items() if known == name)

    def serving_one(self, name: str) -> CalibratedThreshold | None:
        """That of the first reward model in `serving` that has one."""
        return next((found for digest in self.serving if (found := self.find(name, digest))), None)

    def require(self, name: str, head: str) -> None:
        """Raises ConfigError unless a calibration of that name serves `head`."""
        mend = f"run `wardgate calibrate --name {name}` into calibrations.directory, and set that directory"
        found = self.named(name)
        if not found:
            names = ", ".join(sorted({known for known, _ in self._by_key})) or "none"
            raise ConfigError(f"there is no calibration '{name}' (known: {names}); {mend}")
        wrong = next((one for one in found if one.head != head), None)
        if wrong:
            raise ConfigError(f"calibration '{name}' is for head '{wrong.head}', not '{head}'; {mend}")
        if self.serving and self.serving_one(name) is None:
            raise ConfigError(
                f"calibration '{name}' is for another reward model than {self.serving[0][:12]}, which serves; {mend}"
            )


def load_calibration(path: Path) -> CalibratedThreshold:
    """Raises ConfigError naming the file and the mend."""
    try:
        calibration = CalibratedThreshold.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"{path}: not a calibration: {faults}; run `wardgate calibrate` again") from error
    if calibration.normalizer != NORMALIZER_VERSION:
        raise ConfigError(
            f"{path}: made with normalizer {calibration.normalizer}, this build has {NORMALIZER_VERSION};"
            " run `wardgate calibrate` again"
        )
    return calibration


def save_calibration(calibration: CalibratedThreshold, directory: Path) -> Path:
    """Whole or not at all; one of the same name for the same reward model is replaced."""
    path = directory / calibration.file_name
    try:
        directory.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=directory, prefix=f".{calibration.name}.", suffix=".tmp")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(calibration.model_dump_json(indent=1) + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)  # mkstemp gives it to its owner alone, and the service may be another user
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}; choose another --out") from error
    return path
