"""Writes the table of values into the chart's README.md, from the comments `# --` in values.yaml.

    python -m deploy.chart_table

A comment stands above its key and may go on for more lines. A key with a comment is one row, with all that is under it
as its default, unless keys under it have comments of their own.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parent.parent / "helm/wardgate"
BEGIN, END = "<!-- values -->\n", "<!-- end of values -->\n"

_COMMENT = re.compile(r"\s*# ?(?P<text>.*)")
_KEY = re.compile(r"(?P<indent> *)(?P<key>[A-Za-z][A-Za-z0-9_.]*):(?= |$)")


@dataclass(frozen=True, slots=True)
class Row:
    path: tuple[str, ...]
    text: str


def rows(text: str) -> list[Row]:
    """Every described key, in the file's order."""
    found: list[Row] = []
    path: list[tuple[int, str]] = []
    comment: list[str] = []
    for line in text.splitlines():
        if remark := _COMMENT.fullmatch(line):
            said = remark["text"]
            comment = [said.removeprefix("-- ")] if said.startswith("-- ") else [*comment, said] if comment else []
        elif key := _KEY.match(line):
            indent = len(key["indent"])
            path = [*((width, name) for width, name in path if width < indent), (indent, key["key"])]
            if comment:
                found.append(Row(tuple(name for _, name in path), " ".join(comment)))
            comment = []
        else:
            comment = []
    return found


def undescribed(values: dict[str, Any], described: set[tuple[str, ...]], path: tuple[str, ...] = ()) -> list[str]:
    """Values that no comment tells of, neither their own nor one of a key above."""
    missing: list[str] = []
    for key, value in values.items():
        here = (*path, key)
        if here in described:
            continue
        if isinstance(value, dict) and value:
            missing += undescribed(value, described, here)
        else:
            missing.append(".".join(here))
    return missing


def table(text: str) -> str:
    values = yaml.safe_load(text)
    lines = ["| value | default | meaning |", "|---|---|---|"]
    for row in rows(text):
        value: Any = values
        for name in row.path:
            value = value[name]
        default = json.dumps(value).replace("|", "\\|")
        lines.append(f"| `{'.'.join(row.path)}` | `{default}` | {row.text.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def with_table(page: str, values: str) -> str:
    """The page with the table of these values between its two marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{table(values)}{END}{after}"


if __name__ == "__main__":
    readme = CHART / "README.md"
    readme.write_text(with_table(readme.read_text(), (CHART / "values.yaml").read_text()))
