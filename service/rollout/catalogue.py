"""The versions there are: the configured model, and every artefact in the folder beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from guards.errors import ConfigError, InvalidInput, ModelError, UnknownName
from guards.rewards.manifest import MANIFEST_FILE, Manifest, load_manifest
from guards.types import Stage
from service.reward_models import head_stages

_SHORTEST_PREFIX = 8  # of a digest


@dataclass(frozen=True, slots=True)
class Artefact:
    """One version: head weights with the manifest that names it."""

    folder: Path
    manifest: Manifest
    digest: str

    @property
    def version(self) -> str:
        return self.manifest.version

    @property
    def heads(self) -> Mapping[str, frozenset[Stage]]:
        return head_stages(self.manifest)


@dataclass(frozen=True, slots=True)
class Damaged:
    """A folder that looks like a version and cannot be one; `fault` names the mend."""

    folder: Path
    fault: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """`artefacts` by digest, the configured one first."""

    artefacts: Mapping[str, Artefact]
    damaged: tuple[Damaged, ...] = ()

    def joined(self, artefacts: Iterable[Artefact]) -> Catalogue:
        """With those that are in memory, though their folder may be gone."""
        return replace(self, artefacts={**self.artefacts, **{artefact.digest: artefact for artefact in artefacts}})

    def find(self, name: str) -> Artefact:
        """By version, digest, or the first characters of a digest. Raises UnknownName or InvalidInput."""
        found = [artefact for artefact in self.artefacts.values() if _is_named(artefact, name)]
        if not found:
            damaged = [damaged.folder.name for damaged in self.damaged]
            known = [f"{artefact.version} ({artefact.digest[:12]})" for artefact in self.artefacts.values()]
            raise UnknownName("reward model", name, known + [f"{folder} (damaged)" for folder in damaged])
        if len(found) > 1:
            digests = ", ".join(artefact.digest[:12] for artefact in found)
            raise InvalidInput(f"several reward models have that name; give the digest, one of {digests}")
        return found[0]


def _is_named(artefact: Artefact, name: str) -> bool:
    by_digest = len(name) >= _SHORTEST_PREFIX and artefact.digest.startswith(name)
    return by_digest or artefact.version == name


def common_heads(artefacts: Sequence[Artefact]) -> Mapping[str, frozenset[Stage]]:
    """What every one of them has."""
    first, *rest = (artefact.heads for artefact in artefacts)
    return {head: sides for head, sides in first.items() if all(more.get(head) == sides for more in rest)}


def read_catalogue(directory: Path | None, configured: Path) -> Catalogue:
    """Reads every manifest and checks its weights. Raises ModelError when the configured one is damaged."""
    manifest, digest = load_manifest(configured)
    artefacts = {digest: Artefact(configured, manifest, digest)}
    damaged: list[Damaged] = []
    for folder in _folders(directory) if directory else ():
        try:
            manifest, digest = load_manifest(folder)
        except ModelError as error:
            damaged.append(Damaged(folder, str(error)))
            continue
        artefacts.setdefault(digest, Artefact(folder, manifest, digest))
    return Catalogue(artefacts, tuple(damaged))


def _folders(directory: Path) -> list[Path]:
    try:
        return sorted(folder for folder in directory.iterdir() if (folder / MANIFEST_FILE).is_file())
    except OSError as error:
        raise ConfigError(f"rollout.directory {directory}: cannot be read: {error.strerror}") from error
