"""The list of English words that the readings of a text know, most frequent first.

`python -m bench.words` counts the words of the rows that the recipe draws (nothing disguised, nothing made) and writes
guards/readings/english_words.txt: each word of at least `--least` rows, at most `--most` of them. The same files give
the same list.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from pathlib import Path

from guards.learning.corpus import load_corpus
from guards.learning.data import Labelled, Row
from guards.learning.recipe import load_recipe
from guards.normalize import normalize
from guards.readings.words import WORDS_FILE

_ROOT = Path(__file__).parents[1]
_RECIPE = _ROOT / "recipes" / "reward.yaml"
_WORD = re.compile(r"(?<![\w'])[a-z]+(?:'[a-z]{1,2})?(?![\w'])")
_SINGLE = frozenset("ai")  # the words of one letter


def counted() -> Counter[str]:
    """In how many rows each word stands."""
    recipe, _ = load_recipe(_RECIPE)
    files_only = recipe.model_copy(update={"made": recipe.made.model_copy(update=_NOTHING_MADE)})
    files_only = files_only.model_copy(update={"disguise": recipe.disguise.model_copy(update={"per_source": 0})})
    corpus = load_corpus(files_only, _RECIPE.parent)
    rows: Counter[str] = Counter()
    every: tuple[Row, ...] = (*corpus.prompts, *corpus.responses, *corpus.pairs)
    for row in every:
        rows.update(set(_WORD.findall(normalize(_all_of(row)).text.lower())))
    return rows


def _all_of(row: Row) -> str:
    replies = (row.response or "",) if isinstance(row, Labelled) else (row.chosen, row.rejected)
    return " ".join((row.prompt, *replies))


_NOTHING_MADE = {
    "prompts_per_family": 0,
    "everyday": 0,
    "harmful_requests": 0,
    "pairs_per_source": 0,
    "in_company_per_source": 0,
    "answer_sources": [],
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.words", description=__doc__)
    parser.add_argument("--least", type=int, default=4, help="rows that a word must stand in")
    parser.add_argument("--most", type=int, default=12000, help="words")
    options = parser.parse_args()
    kept = [
        word
        for word, rows in sorted(counted().items(), key=lambda item: (-item[1], item[0]))
        if rows >= options.least and (len(word) > 1 or word in _SINGLE)
    ]
    WORDS_FILE.write_text("\n".join(kept[: options.most]) + "\n")
    print(f"{min(len(kept), options.most)} words")


if __name__ == "__main__":
    main()
