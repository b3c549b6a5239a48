"""The table of docs/bypass.md, from what bench.evasion measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_OPEN, _CLOSE = "<!-- table -->", "<!-- /table -->"
_FAMILY = {"look-alike": 0, "marks": 1, "invisible": 2, "spacing": 3, "spelling": 4, "padding": 5, "encoding": 6}


def write_table(page: Path, result: Mapping[str, Any]) -> None:
    """Between the page's two marks; what stands outside of them stays."""
    before, _, rest = page.read_text().partition(_OPEN)
    after = rest.partition(_CLOSE)[2]
    page.write_text(f"{before}{_OPEN}\n{_table(result)}\n{_CLOSE}{after}")


def _table(result: Mapping[str, Any]) -> str:
    clean = {side: result[side]["clean"][""] for side in ("harmful", "harmless")}
    head = (
        f"Heads `{result['model'][:12]}`, before `{result['before'][:12]}`, {result['date']}, seed {result['seed']};"
        f" {clean['harmful']['served']['n']} harmful and {clean['harmless']['served']['n']} harmless prompts.\n\n"
        "| disguise | harmful: before | normalized | served | drop | flagged | harmless: before | served | flagged |\n"
        "|---|---|---|---|---|---|---|---|---|\n"
    )
    return head + "\n".join(_rows(result))


def _rows(result: Mapping[str, Any]) -> Iterator[str]:
    families = result["families"]
    names = sorted(result["harmful"], key=lambda name: _FAMILY.get(families.get(name, ""), 7))
    plain = [name for name in names if name.startswith("clean")]
    for name in (*plain, *(name for name in names if name not in plain)):
        for severity, harmful in result["harmful"][name].items():
            harmless = result["harmless"][name][severity]
            long = harmful["served"]["n"] < result["harmful"]["clean"][""]["served"]["n"]
            clean = result["harmful"]["clean, long" if long else "clean"][""]["served"]["share"]
            drop = 100 * (clean - harmful["served"]["share"])
            label = f"{name} {severity}".strip()
            yield (
                f"| {label} | {_percent(harmful['before'])} | {_percent(harmful['normalized'])}"
                f" | {_interval(harmful['served'])} | {drop + 0.0:.1f} | {_percent(harmful['flagged'])}"
                f" | {_percent(harmless['before'])} | {_interval(harmless['served'])}"
                f" | {_percent(harmless['flagged'])} |"
            )


def _percent(share: Mapping[str, Any]) -> str:
    return f"{100 * share['share']:.1f}"


def _interval(share: Mapping[str, Any]) -> str:
    return f"{_percent(share)} ({100 * share['low']:.1f} to {100 * share['high']:.1f})"
