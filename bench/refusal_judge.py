"""Measures on labelled replies how often the probes' refusal judge is right, for correcting what it counts.

`python -m bench.refusal_judge` writes guards/probes/refusal_judge.json; the same data give the same bytes. Replies to
harmful requests only: people's labels of language models' replies to jailbreaks (gptfuzz), and replies written for this
project. How often the judge is right differs more between the two than either interval tells.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from guards.learning.data import Labelled, read_rows
from guards.probes.judging import MANIFEST, measure_judge

_DATA = Path(__file__).parents[1] / "data"
_FILES = ("resp_gptfuzz_train", "written_replies")


def manifest() -> dict[str, Any]:
    sources = []
    for name in _FILES:
        quality = measure_judge((row.response or "", row.label == 1) for row in _to_harmful(name))
        sources.append({"source": name, **asdict(quality)})
    return {
        "judge": "guards.probes.judging.complied",
        "what": "replies to harmful requests; sensitivity of those that went along, specificity of the others",
        "sources": sources,
    }


def _to_harmful(name: str) -> list[Labelled]:
    """Of written replies those to requests that some reply goes along with; gptfuzz asks nothing else."""
    rows = [row for row in read_rows(_DATA / f"{name}.jsonl.gz") if isinstance(row, Labelled)]
    if name != "written_replies":
        return rows
    written = [row for row in rows if row.source == "written_replies"]
    harmful = {row.prompt for row in written if row.label == 1}
    return [row for row in written if row.prompt in harmful]


def as_text() -> str:
    return json.dumps(manifest(), indent=1) + "\n"


def main() -> None:
    MANIFEST.write_text(as_text(), encoding="utf-8")
    print(as_text(), end="")


if __name__ == "__main__":
    main()
