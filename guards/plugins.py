"""What installed packages add to ours: kinds of guard, kinds of probe."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import TypeVar

from guards.errors import ConfigError

K = TypeVar("K")


def with_installed(built_in: Mapping[str, K], group: str, what: str, kind: type[K], named: str) -> Mapping[str, K]:
    """Ours and those of the entry-point group, by name; `what` and `named` stand for one and its type in messages.

    Raises ConfigError when a name is claimed twice, or when what a package offers cannot be loaded or is no `kind`.
    """
    kinds = dict(built_in)
    for point in entry_points(group=group):
        if point.name in kinds:
            raise ConfigError(f"{what} '{point.name}' is claimed twice; uninstall one of the packages")
        try:
            one = point.load()
        except (ImportError, AttributeError) as error:
            raise ConfigError(f"{what} '{point.name}' cannot be loaded from {point.value}: {error}") from error
        if not isinstance(one, kind):
            raise ConfigError(f"entry point '{point.name}' of {group} is no {named}")
        kinds[point.name] = one
    return MappingProxyType(kinds)
