"""A suite: the probes that run together, as a YAML file says. Users add prompts and probes there, without code.

A suite may include others, whose probes come first; they themselves include none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from guards.errors import ConfigError, UnknownName
from guards.policy import Name, describe
from guards.probes.base import Probe, Unit
from guards.probes.registry import probe_types

EMBEDDED_SUITES = Path(__file__).parent / "suites"


class _SuiteFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    description: str = Field(min_length=1, max_length=300)
    seed: int = 7
    include: tuple[Name, ...] = ()  # other suites by name
    probes: tuple[dict[str, Any], ...] = ()

    @model_validator(mode="after")
    def _has_something_to_do(self) -> _SuiteFile:
        if not self.include and not self.probes:
            raise ValueError("a suite needs probes, or others to include")
        return self


@dataclass(frozen=True)
class Suite:
    """`digest` is the sha256 of its file and of those it includes: results of two runs compare where it is the same."""

    name: str
    description: str
    seed: int
    digest: str
    probes: tuple[Probe, ...]

    def units(self, seed: int | None = None) -> tuple[tuple[Probe, Unit], ...]:
        """Every unit with its probe. Raises ConfigError when two have the same key."""
        chosen = self.seed if seed is None else seed
        planned = tuple((probe, unit) for probe in self.probes for unit in probe.units(chosen))
        keys = [unit.key for _, unit in planned]
        if len(set(keys)) != len(keys):
            twice = sorted({key for key in keys if keys.count(key) > 1})
            raise ConfigError(f"suite '{self.name}' plans a unit twice: {twice[0]}; give its probes other names")
        return planned


def load_suite(path: Path, known: Mapping[str, Path] | None = None) -> Suite:
    """`known` are the suites that it may include, by name. Raises ConfigError naming the file, the probe, the mend."""
    parsed, raw = _read(path)
    included = [_included(path, name, known or {}) for name in parsed.include]
    own = tuple(_probe(path, index, entry) for index, entry in enumerate(parsed.probes))
    probes = (*(probe for suite in included for probe in suite.probes), *own)
    names = [probe.name for probe in probes]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"{path}: two probes are named '{twice[0]}'; rename one")
    digest = hashlib.sha256(raw)
    for suite in included:
        digest.update(suite.digest.encode())
    return Suite(parsed.name, parsed.description, parsed.seed, digest.hexdigest(), probes)


def _included(path: Path, name: str, known: Mapping[str, Path]) -> Suite:
    if name not in known or known[name] == path:
        listed = ", ".join(sorted(other for other, place in known.items() if place != path)) or "none"
        raise ConfigError(f"{path}: includes a suite '{name}' that is not there; known: {listed}")
    return load_suite(known[name])


def _read(path: Path) -> tuple[_SuiteFile, bytes]:
    try:
        raw = path.read_bytes()
        document = yaml.safe_load(raw)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    try:
        return _SuiteFile.model_validate(document), raw
    except ValidationError as error:
        raise ConfigError(f"{path}: {describe(error)}") from error


def find_suites(directory: Path | None) -> Mapping[str, Path]:
    """Every suite by name: the embedded ones, and those of a folder, which take the place of ours of the same name."""
    found: dict[str, Path] = {}
    for folder in (EMBEDDED_SUITES, *([directory] if directory else ())):
        if not folder.is_dir():
            raise ConfigError(f"{folder} is no folder; probing.suites names one with suites as *.yaml")
        for path in sorted(folder.glob("*.yaml")):
            found[path.stem] = path
    return found


def named_suite(directory: Path | None, name: str) -> Suite:
    """Raises UnknownName that lists what there is."""
    found = find_suites(directory)
    if name not in found:
        raise UnknownName("probe suite", name, tuple(found))
    suite = load_suite(found[name], found)
    if suite.name != name:
        raise ConfigError(f"{found[name]}: the suite is named '{suite.name}'; name it as its file, '{name}'")
    return suite


def _probe(path: Path, index: int, entry: dict[str, Any]) -> Probe:
    kinds = probe_types()
    kind = str(entry.get("kind", ""))
    if kind not in kinds:
        listed = ", ".join(sorted(kinds))
        raise ConfigError(f"{path}: probes[{index}].kind is none that is installed; one of: {listed}")
    settings = {key: value for key, value in entry.items() if key != "kind"}
    settings.setdefault("name", kind)
    try:
        return kinds[kind].build(kinds[kind].config.model_validate(settings, context={"folder": path.parent}))
    except ValidationError as error:
        raise ConfigError(f"{path}: probes[{index}] ({kind}): {describe(error)}") from error
