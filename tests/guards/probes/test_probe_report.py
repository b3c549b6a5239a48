from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from guards.probes.base import ProbeKind
from guards.probes.comparison import compare
from guards.probes.plots import curves
from guards.probes.report import as_html, summary, write_pictures
from tests.guards.probes.synthetic_run import HOSTILE, attacked, run_of, setting
from tests.guards.probes.synthetic_run import summary as about

MEASURED = (
    (setting(transformation=HOSTILE, severity=0.3), attacked(20, 100)),
    (setting(transformation="base64", severity=0.3), attacked(0, 100, wrong_before=100)),
    (setting(ProbeKind.BENIGN), attacked(3, 100)),
    *(
        (setting(probe="embedding", attack=attack, norm=norm, epsilon=epsilon), attacked(round(rate * epsilon), 100))
        for attack, rate in (("fgsm", 400), ("random", 0))
        for norm in ("l2", "linf")
        for epsilon in (0.2, 0.0, 0.1)
    ),
)
RUN = run_of(*MEASURED, about=about(skipped={"jailbreak": "needs model"}, units=(1, 2)), show_examples=True)


class Page(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def html() -> str:
    return as_html(RUN)


def test_the_page_asks_the_network_for_nothing(html: str) -> None:
    page = Page(html)
    assert page.addresses
    assert all(address.startswith(("data:image/png;base64,", "#")) for address in page.addresses)
    assert not {"script", "link", "iframe", "object", "base"} & set(page.tags)
    without_pictures = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", html)
    assert not re.search(r"https?:|url\(|@import", without_pictures)


def test_what_a_suite_or_a_prompt_says_is_text_on_the_page() -> None:
    html = as_html(RUN, show_examples=True)
    assert "<script" not in html
    assert "\u202e" not in html.split('id="run"')[0]
    assert "alert('x')" in Page(html).text


def test_examples_are_masked_unless_asked_for(html: str) -> None:
    examples = Page(html).text.split("Worst examples")[1].split("The run")[0]
    assert "xxxxx('x')" in examples
    assert "Letters and digits are masked" in examples
    shown = Page(as_html(RUN, show_examples=True)).text
    assert "Texts are shown as they are" in shown
    hidden = run_of(*MEASURED)
    assert "holds no more" in Page(as_html(hidden, show_examples=True)).text


def test_the_worst_techniques_are_the_first_to_show_examples() -> None:
    mild, bad = setting(transformation="mild", severity=0.3), setting(transformation="bad", severity=0.3)
    examples = Page(as_html(run_of((mild, attacked(5, 100)), (bad, attacked(60, 100))))).text.split("Worst examples")[1]
    assert examples.index("bad, severity 0.3") < examples.index("mild, severity 0.3")
    assert examples.index("mild, severity 0.3") < examples.rindex("bad, severity 0.3")


def test_what_is_missing_is_the_first_thing_said(html: str) -> None:
    start = Page(html).text.split("Attacks and harmless use")[0]
    assert "This run is incomplete." in start
    assert "jailbreak" in start
    assert "no trials" in Page(html).text
    assert "No earlier run was given" in Page(html).text


def test_attacks_and_harmless_use_have_sections_and_pictures_of_their_own(html: str, tmp_path: Path) -> None:
    assert html.index('<h2 id="attack">') < html.index('<h2 id="benign">')
    names = [path.name for path in write_pictures(RUN, tmp_path / "new")]
    assert names == [
        "attack-embedding-on-guard-l2.png",
        "attack-embedding-on-guard-linf.png",
        "attack-disguise-on-guard-attacks.png",
        "benign-disguise-on-guard-harmless-use.png",
    ]
    assert all((tmp_path / "new" / name).read_bytes().startswith(b"\x89PNG") for name in names)
    assert html.count("<img ") == len(names)


def test_a_curve_joins_what_differs_in_strength_alone() -> None:
    found = {(curve.name, curve.norm): curve for curve in curves(RUN.results)}
    assert set(found) == {("fgsm", "l2"), ("fgsm", "linf"), ("random", "l2"), ("random", "linf")}
    fgsm = found["fgsm", "l2"]
    assert fgsm.strengths == [0.0, 0.1, 0.2]
    assert fgsm.accuracies == [1.0, 0.6, 0.2]
    assert fgsm.area == pytest.approx(0.6)
    assert fgsm.eps50 == pytest.approx(0.125)
    assert found["random", "l2"].eps50 is None


def test_changes_name_what_got_worse_and_what_decided(html: str) -> None:
    before = run_of((setting(), attacked(2, 100)), about=about(model="old"))
    now = run_of((setting(), attacked(30, 100)), about=about(model="new"))
    text = " ".join(Page(as_html(now, compare(now, before))).text.split())
    assert "reward_model: old → new" in text
    assert "✗ worse" in text
    other = run_of((setting(), attacked(2, 100)), about=about(seed=8))
    assert "do not compare" in Page(as_html(now, compare(now, other))).text


def test_the_same_run_gives_the_same_bytes(html: str) -> None:
    assert as_html(RUN) == html


def test_the_lines_for_a_terminal_keep_the_kinds_apart_and_say_what_is_missing() -> None:
    lines = summary(RUN)
    assert "1 of 2 units, INCOMPLETE" in lines
    assert lines.index("attacks that got through") < lines.index("harmless use hurt")
    assert "skipped jailbreak: needs model" in lines
    assert re.search(r"base64, severity 0.3 +no trials", lines)


def test_without_matplotlib_the_error_names_the_extra_and_figures_are_still_had() -> None:
    """In a process of its own, where matplotlib and scipy cannot be imported."""
    script = """
import sys
sys.modules["matplotlib"] = sys.modules["scipy"] = None
from guards.errors import ConfigError
from guards.probes.report import as_html, summary
from tests.guards.probes.synthetic_run import attacked, run_of, setting
run = run_of((setting(), attacked(3, 10)))
assert "30.0%" in summary(run)
try:
    as_html(run)
except ConfigError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert done.stdout.strip() == "plots need matplotlib; install wardgate[train]", done.stderr
