"""Draws the prompts that probes ship with: rows of data/prompt_risk_train that the embedded heads did not learn from.

`python -m bench.probe_prompts` writes guards/probes/prompts/{harmful,benign}.jsonl.gz; the same data and recipe give
the same bytes. Sources are shared with training, so figures on these prompts are not those of unseen sources; that a
row was not seen is what a probe of disguises needs, since it asks for the drop.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Sequence
from pathlib import Path

from bench.unseen import undrawn_rows
from guards.learning.data import Labelled

_ROOT = Path(__file__).parents[1]
_SEED = 7
_LONGEST = 400  # characters: padding and encodings come on top
_HARMFUL = {"advbench": 110, "catqa": 110, "harmfulqa": 180}
_BENIGN = {"clinc150": 360, "finegrained_qa": 150, "gsm8k_test": 120}


def unseen(sources: dict[str, int], label: int) -> list[Labelled]:
    rows = undrawn_rows(label)
    found: list[Labelled] = []
    for source, count in sources.items():
        fitting = {row.prompt: row for row in rows if row.source == source and len(row.prompt) <= _LONGEST}
        chosen = random.Random(f"{_SEED}:{source}").sample(sorted(fitting), min(count, len(fitting)))
        found += [fitting[prompt] for prompt in chosen]
    return found


def write(rows: Sequence[Labelled], path: Path) -> None:
    lines = [json.dumps({"prompt": row.prompt, "label": row.label, "source": row.source}) for row in rows]
    path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode(), mtime=0))


def main() -> None:
    folder = _ROOT / "guards" / "probes" / "prompts"
    for name, sources, label in (("harmful", _HARMFUL, 1), ("benign", _BENIGN, 0)):
        rows = unseen(sources, label)
        write(rows, folder / f"{name}.jsonl.gz")
        counts = {source: sum(row.source == source for row in rows) for source in sources}
        print(f"{name}: {len(rows)} {counts}")


if __name__ == "__main__":
    main()
