from __future__ import annotations

from pathlib import Path

import pytest

from guards.errors import ConfigError, UnknownName
from guards.probes.registry import probe_types
from guards.probes.suite import find_suites, load_suite, named_suite
from tests.guards.probes.plugin_probes import KIND, installed

SUITE = """
name: counting
description: Counts.
probes:
  - {kind: count, name: first}
  - {kind: count, name: second, units: 2}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "suites").mkdir()
    return tmp_path / "suites"


def written(folder: Path, text: str = SUITE, name: str = "counting") -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path


def test_a_suite_names_probes_of_installed_packages(tmp_path: Path, folder: Path) -> None:
    with installed(tmp_path / "site"):
        suite = load_suite(written(folder))
        assert [unit.key for _, unit in suite.units()] == ["first/0", "first/1", "first/2", "second/0", "second/1"]


def test_every_embedded_suite_loads_and_plans_the_same_units_twice() -> None:
    assert find_suites(None)
    for name in find_suites(None):
        keys = [[unit.key for _, unit in named_suite(None, name).units()] for _ in range(2)]
        assert keys[0] == keys[1]
        assert keys[0]


def test_a_suite_of_the_users_takes_the_place_of_ours(tmp_path: Path, folder: Path) -> None:
    with installed(tmp_path / "site"):
        own = written(folder, SUITE.replace("name: counting", "name: guard"), "guard")
        assert find_suites(folder)["guard"] == own
        assert named_suite(folder, "guard").description == "Counts."


def test_an_unknown_suite_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(UnknownName, match="guard"):
        named_suite(None, "nonsense")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("name: [", "not valid YAML"),
        ("name: x\ndescription: d\nprobes: []", "needs probes, or others to include"),
        ("name: x\ndescription: d\ninclude: [nonsense]", "includes a suite 'nonsense' that is not there"),
        ("name: x\ndescription: d\nprobes: [{kind: nonsense}]", "none that is installed; one of"),
        ("name: x\ndescription: d\nprobes: [{kind: count, units: many}]", r"probes\[0\] \(count\): units"),
        ("name: x\ndescription: d\nprobes: [{kind: count, unknown: 1}]", "unknown"),
        ("name: x\ndescription: d\nprobes: [{kind: count}, {kind: count}]", "two probes are named 'count'"),
        ("name: x\ndescription: d\nmore: 1\nprobes: [{kind: count}]", "more"),
    ],
)
def test_a_wrong_suite_is_refused_with_the_place_and_the_fault(
    tmp_path: Path, folder: Path, text: str, fault: str
) -> None:
    with installed(tmp_path / "site"), pytest.raises(ConfigError, match=fault) as refusal:
        load_suite(written(folder, text))
    assert "counting.yaml" in str(refusal.value)


def test_a_suite_is_named_as_its_file(tmp_path: Path, folder: Path) -> None:
    written(folder, SUITE, "other")
    with installed(tmp_path / "site"), pytest.raises(ConfigError, match="name it as its file, 'other'"):
        named_suite(folder, "other")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"probing\.suites"):
        find_suites(tmp_path / "missing")


def test_a_probe_that_plans_a_unit_twice_is_refused(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with installed(tmp_path / "site"):
        text = "name: counting\ndescription: d\nprobes: [{kind: count, name: a}, {kind: count, name: a2}]"
        suite = load_suite(written(folder, text))
        monkeypatch.setattr(suite.probes[1], "name", "a")
        with pytest.raises(ConfigError, match="plans a unit twice"):
            suite.units()


def test_an_installed_package_adds_its_kind(tmp_path: Path) -> None:
    with installed(tmp_path):
        assert probe_types()["count"] is KIND
    assert "count" not in probe_types()


@pytest.mark.parametrize(
    ("points", "fault"),
    [
        ({"disguise": "tests.guards.probes.plugin_probes:KIND"}, "claimed twice"),
        ({"count": "tests.guards.probes.plugin_probes:NOT_A_KIND"}, "no ProbeType"),
        ({"count": "tests.no_such_module:KIND"}, "'count' cannot be loaded"),
    ],
)
def test_a_package_that_is_no_kind_is_refused(tmp_path: Path, points: dict[str, str], fault: str) -> None:
    with installed(tmp_path, **points), pytest.raises(ConfigError, match=fault):
        probe_types()


def test_planning_loads_no_torch() -> None:
    import subprocess
    import sys

    code = "import sys, guards.probes.registry, guards.probes.harness; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_suite_can_include_others(tmp_path: Path, folder: Path) -> None:
    with installed(tmp_path / "site"):
        written(folder)
        whole = "name: whole\ndescription: d\ninclude: [counting]\nprobes: [{kind: count, name: third, units: 1}]"
        written(folder, whole, "whole")
        suite = named_suite(folder, "whole")
        assert [probe.name for probe in suite.probes] == ["first", "second", "third"]
        written(folder, SUITE + "  - {kind: count, name: fourth}\n")
        assert named_suite(folder, "whole").digest != suite.digest


def test_a_suite_cannot_include_itself_or_one_that_includes(tmp_path: Path, folder: Path) -> None:
    with installed(tmp_path / "site"):
        written(folder, "name: a\ndescription: d\ninclude: [a]", "a")
        written(folder, "name: b\ndescription: d\ninclude: [a]", "b")
        for name in ("a", "b"):
            with pytest.raises(ConfigError, match="includes a suite 'a' that is not there"):
                named_suite(folder, name)


def test_a_probe_of_an_included_suite_keeps_its_name_to_itself(tmp_path: Path, folder: Path) -> None:
    with installed(tmp_path / "site"):
        written(folder)
        written(folder, "name: x\ndescription: d\ninclude: [counting]\nprobes: [{kind: count, name: first}]", "x")
        with pytest.raises(ConfigError, match="two probes are named 'first'"):
            named_suite(folder, "x")
