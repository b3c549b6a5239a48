from __future__ import annotations

import re
from pathlib import Path

import pytest

from guards.learning.card import tables, with_tables
from guards.learning.figures import head_figures
from guards.learning.suite import measure_suite
from guards.rewards.manifest import Calibration, HeadSpec, Kind, Manifest, load_manifest
from guards.rewards.reward_model import EMBEDDED_DIR
from tests.guards.learning.synthetic_scores import HOSTILE, synthetic_scores

KINDS: dict[str, Kind] = {"request_risk": "prompt", "response_reward": "exchange", "helpfulness": "exchange"}


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    """The embedded one, with heads measured by the suite."""
    embedded, _ = load_manifest(EMBEDDED_DIR)
    calibration = Calibration(method="platt", a=1.0, b=0.0, id="made")
    heads = tuple(
        HeadSpec(name=suite.head, input=KINDS[suite.head], calibration=calibration, held_out=head_figures(suite))
        for suite in measure_suite(synthetic_scores()).heads
    )
    return embedded.model_copy(update={"heads": heads})


def section(text: str, head: str) -> str:
    return text.split(f"### {head}\n")[1].split("\n### ")[0]


def test_the_halves_of_refusal_pairs_have_rows_of_their_own(manifest: Manifest) -> None:
    text = section(tables(manifest), "response_reward")
    assert re.search(r"\| refusals \| refusal pairs right, safe half: [^|]+ \| 0\.[0-4]", text)
    assert re.search(r"\| refusals \| refusal pairs right, unsafe half: [^|]+ \| 0\.[89]", text)


def test_one_threshold_is_shown_the_default_policys(manifest: Manifest) -> None:
    text = section(tables(manifest), "request_risk")
    assert "share stopped at risk 0.8" in text
    assert "(recall)" in text
    assert "(false positives)" in text
    assert set(re.findall(r"at risk (\S+)", section(tables(manifest), "response_reward"))) == {"0.7"}


def test_a_borrowed_class_is_marked(manifest: Manifest) -> None:
    lines = section(tables(manifest), "request_risk").splitlines()
    (unsafe,) = [line for line in lines if line.startswith("| only_unsafe |")]
    (mixed,) = [line for line in lines if line.startswith("| mixed_chat | safe and unsafe")]
    assert ")* |" in unsafe
    assert "*" not in mixed


def test_sources_are_sorted_by_kind(manifest: Manifest) -> None:
    kinds = re.findall(r"\| (safe and unsafe|unsafe|safe) \| [0-9 ]", section(tables(manifest), "request_risk"))
    assert kinds == sorted(kinds, key=["safe and unsafe", "unsafe", "safe"].index)


def test_a_sources_name_cannot_leave_its_cell(manifest: Manifest) -> None:
    assert HOSTILE not in tables(manifest)
    assert "&lt;script&gt;" in tables(manifest)


def test_a_head_with_pairs_alone_has_no_table_by_source(manifest: Manifest) -> None:
    text = section(tables(manifest), "helpfulness")
    assert "pandalm" in text
    assert "<details>" not in text


def test_making_the_page_twice_changes_nothing_and_keeps_what_people_wrote(manifest: Manifest) -> None:
    page = Path("docs/reward-model.md").read_text()
    once = with_tables(page, manifest)
    assert with_tables(once, manifest) == once
    assert once != page
    assert once.split("<!-- model -->")[0] == page.split("<!-- model -->")[0]
    assert once.split("<!-- /figures -->")[1] == page.split("<!-- /figures -->")[1]


def test_a_page_without_markers_is_refused(manifest: Manifest) -> None:
    with pytest.raises(ValueError, match="markers of figures"):
        with_tables("<!-- model -->\n\n<!-- /model -->\n<!-- data -->\n\n<!-- /data -->", manifest)
