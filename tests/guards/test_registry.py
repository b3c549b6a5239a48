from __future__ import annotations

from pathlib import Path

import pytest

from guards.errors import ConfigError
from guards.registry import guard_kinds
from tests.plugin_guards import KIND, installed


def test_the_built_in_kinds_are_there_without_any_package() -> None:
    assert {"reward", "patterns", "sensitive_data"} <= set(guard_kinds())


def test_an_installed_package_adds_its_kind(tmp_path: Path) -> None:
    with installed(tmp_path):
        assert guard_kinds()["plugin"] is KIND
    assert "plugin" not in guard_kinds()


def test_two_packages_cannot_claim_one_kind(tmp_path: Path) -> None:
    with installed(tmp_path, reward="tests.plugin_guards:KIND"), pytest.raises(ConfigError, match="claimed twice"):
        guard_kinds()


def test_what_is_no_kind_is_refused(tmp_path: Path) -> None:
    with installed(tmp_path, plugin="tests.plugin_guards:NOT_A_KIND"), pytest.raises(ConfigError, match="no guards"):
        guard_kinds()


@pytest.mark.parametrize("place", ["tests.no_such_module:KIND", "tests.plugin_guards:MISSING"])
def test_a_package_that_cannot_be_loaded_is_named(tmp_path: Path, place: str) -> None:
    with installed(tmp_path, plugin=place), pytest.raises(ConfigError, match="'plugin'"):
        guard_kinds()


def test_kinds_cannot_be_changed_in_place() -> None:
    with pytest.raises(TypeError):
        guard_kinds()["x"] = KIND  # type: ignore[index]
