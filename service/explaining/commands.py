"""`wardgate explain`: why a head gave its risk, in this process. Needs torch."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guards.base import ScoreInput
from guards.errors import ConfigError, InvalidInput, UnknownName
from guards.explainers.explanation import AttentionMap, Explanation
from guards.explainers.names import AUTO, METHOD_NAMES, WORDS
from guards.readings.find import judged_input
from service.commands import scoring_only
from service.explaining.work import MOST_ATTENTION_TOKENS

if TYPE_CHECKING:
    from guards.explainers.explain import RewardExplainer

_SHOWN = 12  # tokens of the table
_RED, _BLUE, _PLAIN = "\x1b[31m", "\x1b[34m", "\x1b[0m"


def add_explain(add: Callable[[str, Callable[[Namespace], int], str], ArgumentParser]) -> None:
    """`add` makes the command's parser."""
    explain = add("explain", run, "Say why a head gave its risk, in this process.")
    explain.add_argument("text", nargs="?", help="what a user says")
    explain.add_argument("--response", metavar="TEXT", help="explain this response to it")
    explain.add_argument("--head", default="", metavar="NAME", help="empty takes the model's first of that side")
    explain.add_argument(
        "--method", default=AUTO, metavar="NAME", help=f"{', '.join((*WORDS, *METHOD_NAMES))}; default auto"
    )
    explain.add_argument("--budget", type=float, default=2.0, metavar="SECONDS", help="default 2")
    explain.add_argument("--layer", type=int, metavar="N", help="adds the attention of a layer; of all, when left out")
    explain.add_argument("--attention-head", type=int, metavar="N", help="adds the attention of a head; mean of all")
    explain.add_argument("--json", action="store_true", help="print one JSON object")
    explain.add_argument("--html", type=Path, metavar="FILE", help="a page with every method and all attention")
    explain.add_argument("--png", type=Path, metavar="FOLDER", help="the text as a strip, and attention as heatmaps")
    explain.add_argument("--compare", type=Path, metavar="FILE", help="measure every method on rows as of `evaluate`")
    explain.add_argument("--limit", type=int, default=50, metavar="N", help="rows of --compare; default 50")
    explain.add_argument("--seed", type=int, default=0, help="of --compare's intervals")


def run(options: Namespace) -> int:
    if options.budget <= 0:
        raise ConfigError("--budget is over 0 seconds")
    if (options.text is None) == (options.compare is None):
        raise ConfigError("give a text to explain, or --compare FILE")
    explainer = _opened(options)
    if options.compare:
        return _compare(explainer, options)
    item = judged_input(options.text, options.response)
    head = options.head or _first_head(explainer, item)
    found = explainer.explain(item, head, options.method, options.budget)
    attention = None
    if options.layer is not None or options.attention_head is not None:
        attention = explainer.attention(item, head, options.layer, options.attention_head, MOST_ATTENTION_TOKENS)
    if options.html:
        _write(options.html, _page(explainer, item, found, options).encode())
    if options.png:
        _pictures(explainer, item, found, attention, options.png)
    print(json.dumps(as_fields(found, attention)) if options.json else _table(found))
    return 0


def as_fields(found: Explanation, attention: AttentionMap | None) -> dict[str, Any]:
    """For programs; spans are code points of the prompt or the response as given."""
    measured = found.faithfulness
    return {
        "head": found.head,
        "reward": found.reward,
        "risk": found.risk,
        "method": found.method,
        "reading": found.reading,
        "signed": found.signed,
        "faithful": found.faithful,
        "faithfulness": {
            "comprehensiveness": measured.comprehensiveness,
            "sufficiency": measured.sufficiency,
            "random_comprehensiveness": measured.random_comprehensiveness,
            "random_sufficiency": measured.random_sufficiency,
            "deletion": list(measured.deletion),
        },
        "completeness_error": found.completeness_error,
        "steps": found.steps,
        "seconds": found.seconds,
        "tokens": [
            {
                "side": token.source.side.value,
                "start": token.source.start,
                "end": token.source.end,
                "text": token.source.text,
                "attribution": token.value,
            }
            for token in found.tokens
        ],
        "windows": [
            {"start": window.start, "end": window.end, "risk": window.risk, "explained": window.explained}
            for window in found.windows
        ],
        "attention": attention
        and {
            "layer": attention.layer,
            "attention_head": attention.attention_head,
            "tokens": [token.text for token in attention.tokens],
            "matrix": attention.matrix.tolist(),
        },
    }


def _opened(options: Namespace) -> RewardExplainer:
    """The active version, as `wardgate check` would use it."""
    from service.explaining.opening import child_settings
    from service.reward_models import configured_artefact
    from service.rollout.rollout import kept

    settings = scoring_only(options)
    _, artefacts = kept(settings.rollout.directory, configured_artefact(settings))
    try:
        from service.explaining.child import open_explainer

        return open_explainer(child_settings(settings), artefacts[0].folder)
    except ImportError as error:
        raise ConfigError("explanations need torch; install wardgate[local]") from error


def _first_head(explainer: RewardExplainer, item: ScoreInput) -> str:
    kind = "prompt" if item.response is None else "exchange"
    heads = [name for name, head in explainer.heads.items() if head.spec.input == kind]
    if not heads:
        raise InvalidInput(f"the reward model has no head that judges such texts; it has {', '.join(explainer.heads)}")
    return heads[0]


def _table(found: Explanation) -> str:
    coloured = sys.stdout.isatty()
    trust = "better than chance on this text" if found.faithful else "not faithful here: no better than chance"
    measured = found.faithfulness
    lines = [
        f"{found.head}: risk {found.risk:.3f}, reward {found.reward:.3f}; {found.method}, {trust}",
        f"  comprehensiveness {measured.comprehensiveness:.3f} (random {measured.random_comprehensiveness:.3f}),"
        f" sufficiency {measured.sufficiency:.3f} (random {measured.random_sufficiency:.3f})",
    ]
    if found.completeness_error is not None:
        lines.append(f"  completeness error {found.completeness_error:.2%} after {found.steps} steps")
    largest = max((abs(token.value) for token in found.tokens), default=0.0) or 1.0
    for token in found.top(_SHOWN):
        bar = "#" * max(1, round(20 * abs(token.value) / largest))
        sign = "" if not found.signed else ("raised" if token.value > 0 else "lowered")
        begin = (_RED if token.value > 0 else _BLUE) if coloured else ""
        where = f"{token.source.side.value}[{token.source.start}:{token.source.end}]"
        word = "".join(char if char.isprintable() else "\ufffd" for char in token.source.text)
        lines.append(f"  {begin}{word:16} {token.value:+9.4f}  {bar:20}{_PLAIN if coloured else ''} {sign:8}{where}")
    return "\n".join(lines)


def _page(explainer: RewardExplainer, item: ScoreInput, found: Explanation, options: Namespace) -> str:
    """The method that was asked for first."""
    from guards.explainers.page import PageTexts, explanation_page

    others = [
        explainer.explain(item, found.head, name, options.budget) for name in METHOD_NAMES if name != found.method
    ]
    tokens, maps = explainer.all_attention(item, found.head, MOST_ATTENTION_TOKENS)
    texts = PageTexts(item.prompt.original, item.response.original if item.response else None)
    return explanation_page(texts, [found, *others], tokens, maps)


def _pictures(
    explainer: RewardExplainer, item: ScoreInput, found: Explanation, attention: AttentionMap | None, folder: Path
) -> None:
    from guards.explainers.pictures import attention_grid_png, attention_png, strip_png

    _write(folder / "strip.png", strip_png(found))
    if attention is not None:
        _write(folder / "attention.png", attention_png(attention))
        return
    _, maps = explainer.all_attention(item, found.head, MOST_ATTENTION_TOKENS)
    _write(folder / "attention-grid.png", attention_grid_png(maps, found.head))


def _write(file: Path, content: bytes) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror}") from error


def _compare(explainer: RewardExplainer, options: Namespace) -> int:
    from dataclasses import asdict

    from guards.explainers.comparison import Case, figures, measure
    from guards.learning.data import Labelled, read_rows

    rows = [row for row in read_rows(options.compare, unlabelled=0) if isinstance(row, Labelled)][: options.limit]
    if not rows:
        raise InvalidInput(f"{options.compare}: holds no prompt or response to explain; pairs are not compared")
    cases = []
    for row in rows:
        item = judged_input(row.prompt, row.response)
        cases.append(Case(item, _first_head(explainer, item)))
    if options.head:
        if options.head not in explainer.heads:
            raise UnknownName("head", options.head, tuple(explainer.heads))
        kind = explainer.heads[options.head].spec.input
        fitting = [case for case in cases if (kind == "prompt") == (case.item.response is None)]
        cases = [Case(case.item, options.head) for case in fitting]
        if not cases:
            raise InvalidInput(f"{options.compare}: no row of it is judged by head {options.head}")
    table = figures(measure(explainer, cases, options.budget), options.seed)
    if options.json:
        print(json.dumps({"file": str(options.compare), "n": len(cases), "methods": [asdict(row) for row in table]}))
        return 0
    print(f"{options.compare}: {len(cases)} rows; comprehensiveness: more is better, sufficiency: less is better")
    for one in table:
        more, less = one.comprehensiveness, one.sufficiency
        print(
            f"  {one.method:24} {more.value:6.3f} [{more.low:6.3f}, {more.high:6.3f}]"
            f"  {less.value:6.3f} [{less.low:6.3f}, {less.high:6.3f}]  {one.seconds * 1000:7.0f} ms"
        )
    return 0
