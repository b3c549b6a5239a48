"""What goes into the images: the locks, the constraints and pyproject.toml say the same."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = ROOT / "deploy/locks"
# In no constraints: `pip freeze` leaves out setuptools, and the development environment has torch's CPU build.
ONLY_IN_LOCKS = re.compile(r"setuptools|triton|(nvidia|cuda)-.+")
LINUX = {"sys_platform": "linux", "implementation_name": "cpython", "platform_machine": "x86_64"}


@dataclass(frozen=True)
class Locked:
    requirement: Requirement
    hashes: int

    @property
    def version(self) -> str:
        return str(self.requirement.specifier).removeprefix("==")


def lock(name: str) -> dict[str, Locked]:
    """What `name` installs on Linux, by package."""
    text = (LOCKS / f"{name}.txt").read_text().replace("\\\n", " ")
    locked: dict[str, Locked] = {}
    for line in text.splitlines():
        if line.startswith("#") or not line.strip():
            continue
        before, *hashes = line.split("--hash=sha256:")
        requirement = Requirement(before)
        if requirement.marker is None or requirement.marker.evaluate(LINUX):
            locked[canonicalize_name(requirement.name)] = Locked(requirement, len(hashes))
    return locked


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = (line.split("==") for line in lines if "==" in line)
    return {str(canonicalize_name(name)): version for name, version in pins}


def wanted(*extras: str) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    texts = [*project["dependencies"], *(text for extra in extras for text in project["optional-dependencies"][extra])]
    return [Requirement(text) for text in texts]


@pytest.mark.parametrize("name", ["scorer", "full", "gpu", "torch-cpu"])
def test_a_lock_has_the_versions_that_are_tested(name: str) -> None:
    tested = constraints()
    for package, locked in lock(name).items():
        if not ONLY_IN_LOCKS.fullmatch(package):
            assert locked.version == tested.get(package), f"{name}.txt has {locked.requirement}; run `make locks`"


@pytest.mark.parametrize(
    ("names", "extras"),
    [
        (("scorer",), ("postgres",)),
        (("full", "torch-cpu"), ("postgres", "local", "train")),
        (("gpu",), ("postgres", "local", "train")),
    ],
)
def test_a_lock_has_all_that_its_image_needs(names: tuple[str, ...], extras: tuple[str, ...]) -> None:
    locked = {package: pin for name in names for package, pin in lock(name).items()}
    for requirement in wanted(*extras):
        pin = locked.get(canonicalize_name(requirement.name))
        assert pin is not None, f"no {requirement.name} in {names}; run `make locks`"
        assert pin.version in requirement.specifier, f"{requirement} has {pin.version}; run `make locks`"


@pytest.mark.parametrize("path", sorted(LOCKS.glob("*.txt")), ids=lambda path: path.stem)
def test_every_file_of_a_lock_is_hashed(path: Path) -> None:
    assert lock(path.stem)
    assert all(pin.hashes and str(pin.requirement.specifier).startswith("==") for pin in lock(path.stem).values())


def test_the_small_image_has_no_torch_and_the_cpu_images_no_cuda() -> None:
    assert not {"torch", "transformers", "scipy", "matplotlib"} & lock("scorer").keys()
    for name in ("scorer", "full"):
        assert not [package for package in lock(name) if re.match("nvidia|cuda|triton", package)]
    assert "torch" not in lock("full")
    assert [package for package in lock("gpu") if package.startswith("nvidia-")]
