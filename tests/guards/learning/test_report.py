from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest

from guards.learning.gates import Gate
from guards.learning.report import as_html, as_json, measure, summary
from tests.guards.learning.synthetic_scores import HOSTILE, synthetic_scores

GATES = (
    Gate(name="<b>safe half</b>", head="response_reward", metric="accuracy_safe", at_least=0.6),
    Gate(name="unsafe half", head="response_reward", metric="accuracy_unsafe", at_least=0.85),
    Gate(name="nothing", head="request_risk", metric="auroc", sources=("no_such_source",), at_least=0.5),
)
SCORES = synthetic_scores(n=120)
REPORT = measure(SCORES, GATES)


class Page(HTMLParser):
    """Every element and address of a page, and its text by section heading."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def html() -> str:
    return as_html(REPORT)


def test_the_page_asks_the_network_for_nothing(html: str) -> None:
    page = Page(html)
    assert page.addresses
    assert all(address.startswith(("data:image/png;base64,", "#")) for address in page.addresses)
    assert not {"script", "link", "iframe", "object", "base"} & set(page.tags)
    without_pictures = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", html)
    assert not re.search(r"https?:|url\(|@import", without_pictures)


def test_a_name_is_text_on_the_page_whatever_is_in_it(html: str) -> None:
    assert HOSTILE not in html
    assert "<b>safe half</b>" not in html
    text = "".join(Page(html).text)
    assert HOSTILE in text
    assert "<b>safe half</b>" in text


def test_every_head_has_its_section_and_its_pictures(html: str) -> None:
    page = Page(html)
    assert page.tags.count("img") == 10  # four of each head with labels, one of each with pairs
    assert page.tags.count("h2") == 5
    text = "".join(page.text)
    for phrase in ("safe half: the answer should win", "pooled unsafe", "193 tokens and more", "2 of 3 gates fail"):
        assert phrase in text


def test_the_same_scores_give_the_same_page(html: str) -> None:
    assert as_html(measure(SCORES, GATES)) == html


def test_the_json_has_every_figure_and_which_gates_failed() -> None:
    fields = json.loads(as_json(REPORT))
    assert fields["format"] == "wardgate.suite/1"
    assert [(gate["gate"]["name"], gate["passed"]) for gate in fields["gates"]] == [
        ("<b>safe half</b>", False),
        ("unsafe half", True),
        ("nothing", False),
    ]
    (response,) = [head for head in fields["heads"] if head["head"] == "response_reward"]
    halves = {(pairs["name"], pairs["half"]): pairs["accuracy"] for pairs in response["pairs"]["by_source"]}
    assert set(halves["refusals", "safe"]) == {"value", "low", "high", "n", "least", "most"}
    assert fields["gates"][0]["estimate"]["value"] == halves["refusals", "safe"]["value"]


def test_the_terminal_names_what_fails() -> None:
    lines = summary(REPORT).splitlines()
    assert [line[:4] for line in lines] == ["FAIL", "pass", "FAIL"]
    assert "no held-out rows" in lines[2]
