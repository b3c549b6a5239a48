"""Packages that look installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def installed_package(folder: Path, group: str, points: Mapping[str, str]) -> Iterator[None]:
    """As if pip had installed a package with these entry points: name -> module:object."""
    package = folder / "wardgate_plugin_for_tests-1.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: wardgate-plugin-for-tests\nVersion: 1\n")
    listed = "\n".join(f"{name} = {place}" for name, place in points.items())
    (package / "entry_points.txt").write_text(f"[{group}]\n{listed}\n")
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
