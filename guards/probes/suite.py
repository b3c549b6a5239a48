"""A suite: the probes that run together, as a YAML file says. Users add prompts and probes there, without code."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

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
    probes: tuple[dict[str, Any], ...] = Field(min_length=1)


@dataclass(frozen=True)
class Suite:
    """`digest` is the sha256 of its file: results of two runs compare where it is the same."""

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


def load_suite(path: Path) -> Suite:
    """Raises ConfigError naming the file, the probe and the mend."""
    try:
        raw = path.read_bytes()
        document = yaml.safe_load(raw)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    try:
        parsed = _SuiteFile.model_validate(document)
    except ValidationError as error:
        raise ConfigError(f"{path}: {describe(error)}") from error
    probes = tuple(_probe(path, index, entry) for index, entry in enumerate(parsed.probes))
    names = [probe.name for probe in probes]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"{path}: two probes are named '{twice[0]}'; rename one")
    return Suite(parsed.name, parsed.description, parsed.seed, hashlib.sha256(raw).hexdigest(), probes)


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
    suite = load_suite(found[name])
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
