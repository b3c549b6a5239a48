"""How faithful each way to explain a score is, what it costs, and whether it explains this model at all.

`python -m bench.explanations` prints JSON; `--out` writes it too. Texts: harmful prompts of the probes, the same kind
among ordinary sentences, and written responses, each explained by the head that judges it. Figures: comprehensiveness
and sufficiency on the worst window with bootstrapped 95% intervals, beside random orders and raw attention; seconds
for a text of 128 tokens on one thread; how alike the maps are on re-initialised weights (they should not be) and under
slips of typing (they should be). AUTO is measured with time for all that it tries, and with the budget that the service
gives it; its map of a text is compared with the map of what AUTO chooses on the re-initialised weights, and with the
map of the same method there.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import nn

from bench.machine import machine, versions
from guards.base import ScoreInput
from guards.explainers.base import Attribution, Budget, Floats
from guards.explainers.comparison import Case, Measured, figures, measure
from guards.explainers.explain import RewardExplainer, quality
from guards.explainers.faithfulness import FaithfulnessTest
from guards.explainers.methods import CANDIDATES, METHODS
from guards.explainers.names import AUTO, EXACT, FAST
from guards.explainers.tokens import token_windows
from guards.explainers.window import TokenWindow
from guards.learning.data import Labelled, read_rows
from guards.normalize import normalize
from guards.probes.prompts.prompts import Prompts
from guards.probes.transformations.benign_padding import BENIGN_PADDING
from guards.probes.transformations.typos import TYPOS
from guards.rewards.encoding import TextEncoder
from guards.rewards.manifest import Manifest, load_manifest
from guards.rewards.torch_model import RewardNetwork, load_network, upper_layers
from service.config import Settings, load_settings
from service.models import ModelCache
from service.reward_models import configured_artefact

_REPLIES = Path(__file__).parents[1] / "data" / "written_replies.jsonl.gz"
_SEED = 0
_BUDGET_S = 30.0  # wall: so long that a busy machine changes no figure but the seconds
_IN_BUDGET = "auto_default_budget"
_SAME = "auto_same_method"
_TIMED_TOKENS = 128
_FEWEST_TOKENS = 8  # of a text whose maps are compared: a rank correlation of fewer is noise
_TYPOS = 0.15
_GOALS = {"comprehensiveness_vs_random": 3.0, "comprehensiveness_vs_attention": 1.25}


def cases(count: int) -> list[Case]:
    """The same for the same count."""
    harmful = [prompt.text for prompt in Prompts(set="harmful", count=2 * count).load(_SEED)]
    alone, among = harmful[:count], harmful[count:]
    padded = [BENIGN_PADDING.transform(text, random.Random(f"{_SEED}:{n}"), 0.5) for n, text in enumerate(among)]
    rows = [row for row in read_rows(_REPLIES) if isinstance(row, Labelled) and row.response]
    replies = random.Random(_SEED).sample(rows, count)
    return (
        [Case(ScoreInput(normalize(text)), "request_risk", "harmful prompt") for text in alone]
        + [Case(ScoreInput(normalize(text)), "request_risk", "harmful among ordinary") for text in padded]
        + [
            Case(ScoreInput(normalize(row.prompt), normalize(row.response or "")), "response_reward", "response")
            for row in replies
        ]
    )


def faithfulness(measured: Sequence[Measured]) -> dict[str, Any]:
    table = {
        one.method: {
            "comprehensiveness": asdict(one.comprehensiveness),
            "sufficiency": asdict(one.sufficiency),
            "faithful_share": one.faithful,
            "median_s": one.seconds,
        }
        for one in figures(measured, _SEED)
    }
    return {"methods": table, **_beside(table, AUTO), "with_default_budget": _beside(table, _IN_BUDGET)}


def _beside(table: Mapping[str, dict[str, Any]], name: str) -> dict[str, Any]:
    found, chance, raw = (table[row] for row in (name, "random", "attention"))
    return {
        "comprehensiveness_vs_random": _of(found, "comprehensiveness") / _of(chance, "comprehensiveness"),
        "comprehensiveness_vs_attention": _of(found, "comprehensiveness") / _of(raw, "comprehensiveness"),
        "sufficiency_below_both": _of(found, "sufficiency") < min(_of(chance, "sufficiency"), _of(raw, "sufficiency")),
    }


def within_budget(explainer: RewardExplainer, measured: Sequence[Measured], budget_s: float) -> list[Measured]:
    """AUTO as the service runs it. Where all that it tries took less than that, it is what it is without a bound."""
    found = []
    for one in measured:
        if one.method != AUTO:
            continue
        if one.seconds < budget_s / 2:  # as long again is left for the tests of faithfulness
            found.append(replace(one, method=_IN_BUDGET))
            continue
        explained = explainer.explain(one.case.item, one.case.head, AUTO, budget_s)
        found.append(Measured(_IN_BUDGET, one.case, one.tokens, explained.faithfulness, explained.seconds))
    return found


def _of(row: dict[str, Any], figure: str) -> float:
    return float(row[figure]["value"])


def seconds_of_128(explainer: RewardExplainer, encoder: TextEncoder, repeats: int) -> dict[str, Any]:
    """One attribution alone, without its faithfulness; `cpu_s` is what a machine that does nothing else would take."""
    sentences = "We talked about the weather and about what to cook for the guests on Sunday. " * 12
    head, (window, *_) = explainer.heads["request_risk"], token_windows(encoder, ScoreInput(normalize(sentences)), 1)
    window = TokenWindow(
        np.append(window.ids[: _TIMED_TOKENS - 1], window.ids[-1]),
        window.segments[:_TIMED_TOKENS],
        window.mask[:_TIMED_TOKENS],
        (*window.sources[: _TIMED_TOKENS - 1], window.sources[-1]),
    )
    found = {}
    for name, method in METHODS.items():
        wall, cpu = [], []
        for _ in range(repeats + 1):
            started, busy = time.perf_counter(), time.process_time()
            method.attribute(head, window, Budget.of(_BUDGET_S))
            wall.append(time.perf_counter() - started)
            cpu.append(time.process_time() - busy)
        found[name] = {"wall_s": median(wall[1:]), "cpu_s": median(cpu[1:])}  # the first warms up
    return found


def seconds_whole(explainer: RewardExplainer) -> dict[str, float]:
    """Wall seconds of a whole explanation of 128 tokens, its test of faithfulness included; the median of five."""
    text = "We talked about the weather and about what to cook for the guests on Sunday. " * 8
    item = ScoreInput(normalize(text))
    return {
        name: median(explainer.explain(item, "request_risk", name, _BUDGET_S).seconds for _ in range(5))
        for name in (FAST, EXACT)
    }


def timing(repeats: int) -> dict[str, Any]:
    """By number of threads: one, and as many as the service gives to explanations."""
    settings = load_settings(None)
    model = opened(settings)
    found = {}
    for threads in sorted({1, settings.explanations.threads}):
        torch.set_num_threads(threads)
        found[threads] = {
            "attribution": seconds_of_128(model.explainer, model.encoder, repeats),
            "whole": seconds_whole(model.explainer),
        }
    return {"seconds_of_128_tokens_by_threads": found, "machine": machine(), "versions": versions()}


def randomised(network: RewardNetwork, manifest: Manifest) -> RewardNetwork:
    """Heads and adapted layers as if they had never been trained."""
    torch.manual_seed(_SEED)
    other = copy.deepcopy(network)
    first = manifest.adapter.first_layer if manifest.adapter else 0
    deviation = float(network.pooled.encoder.config.initializer_range)
    for module in upper_layers(other.pooled.encoder, first).modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=deviation)
            nn.init.zeros_(module.bias)
    for head in other.heads.values():
        for parameter in head.parameters():
            nn.init.normal_(parameter, std=1.0 / np.sqrt(parameter.shape[-1]))
    return other


def alike_on(explainer: RewardExplainer, other: RewardExplainer, measured: Sequence[Measured]) -> dict[str, float]:
    """Mean |Spearman| of the maps of two networks over the same windows, by method and for AUTO both ways."""
    found: dict[str, list[float]] = {name: [] for name in (*METHODS, AUTO, _SAME)}
    by_case: dict[int, dict[str, Attribution]] = {}
    for one in measured:
        if one.attribution is not None and one.tokens >= _FEWEST_TOKENS:
            by_case.setdefault(id(one.case), {})[one.method] = one.attribution
    cases_of = {id(one.case): one.case for one in measured}
    for case, maps in by_case.items():
        _, window = explainer.worst_window(cases_of[case].item, cases_of[case].head)  # the other's may be another one
        head = other.heads[cases_of[case].head]
        test = FaithfulnessTest(head, window)
        others = {name: method.attribute(head, window, Budget.of(_BUDGET_S)) for name, method in METHODS.items()}
        same = next(name for name in CANDIDATES if maps[name] is maps[AUTO])
        others[_SAME] = others[same]
        others[AUTO] = others[max(CANDIDATES, key=lambda name: quality(test.measure(others[name])))]
        for name, again in others.items():
            before = maps[AUTO if name == _SAME else name]
            found[name].append(abs(_rank(before.values[window.own], again.values[window.own])))
    return {name: float(np.nanmean(some)) for name, some in found.items()}


def stability(explainer: RewardExplainer, measured: Sequence[Measured], names: Sequence[str]) -> dict[str, float]:
    """Mean Spearman of words' attributions between a text and the same with slips of typing; prompts only."""
    found: dict[str, list[float]] = {name: [] for name in names}
    for one in measured:
        text = one.case.item.prompt.original
        if one.method not in found or one.attribution is None or one.case.item.response is not None:
            continue
        slipped = TYPOS.transform(text, random.Random(f"{_SEED}:{text}"), _TYPOS)
        head, before = explainer.worst_window(one.case.item, one.case.head)
        _, after = explainer.worst_window(ScoreInput(normalize(slipped)), one.case.head)
        again = METHODS[one.method].attribute(head, after, Budget.of(_BUDGET_S)).values
        words = _words(text, before, one.attribution.values), _words(slipped, after, again)
        if len(words[0]) != len(words[1]):
            continue
        both = ~np.isnan(words[0]) & ~np.isnan(words[1])  # a slip may make another sentence the worst one
        if both.sum() >= _FEWEST_TOKENS:
            found[one.method].append(_rank(words[0][both], words[1][both]))
    return {name: float(np.nanmean(some)) for name, some in found.items()}


def _words(text: str, window: TokenWindow, values: Floats) -> Floats:
    """Each word's sum over its tokens; NaN for a word that the window does not have."""
    starts = [at for at, char in enumerate(text) if not char.isspace() and (at == 0 or text[at - 1].isspace())]
    bounds = list(pairwise([*starts, len(text)]))
    sums = np.full(len(bounds), np.nan)
    for at, source in enumerate(window.sources):
        for word, (start, end) in enumerate(bounds):
            if window.own[at] and start <= source.start < end:
                sums[word] = np.nan_to_num(sums[word]) + values[at]
    return sums


def _rank(one: Floats, other: Floats) -> float:
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(spearmanr(one, other).statistic)


@dataclass(frozen=True, slots=True)
class Opened:
    manifest: Manifest
    digest: str
    network: RewardNetwork
    encoder: TextEncoder
    explainer: RewardExplainer


def opened(settings: Settings) -> Opened:
    folder = configured_artefact(settings)
    encoder_dir = ModelCache(settings.model_cache).path(settings.scoring.encoder)
    manifest, digest = load_manifest(folder)
    network = load_network(manifest, folder, encoder_dir)
    encoder = TextEncoder.from_file(encoder_dir / "tokenizer.json", manifest.window)
    explainer = RewardExplainer(network, encoder, settings.scoring.max_windows)
    return Opened(manifest, digest, network, encoder, explainer)


def run(count: int, compared: int, repeats: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    settings = load_settings(None)
    model = opened(settings)
    explainer = model.explainer
    chosen = cases(count)
    started, busy = time.perf_counter(), time.process_time()
    measured = measure(explainer, chosen, _BUDGET_S, on_case=lambda n: print(n, end=" ", file=sys.stderr, flush=True))
    # What else runs takes time from this process, and so from a budget: that much more of it is given.
    shared = (time.perf_counter() - started) / (time.process_time() - busy)
    measured += within_budget(explainer, measured, settings.explanations.default_budget_s * shared)
    overall = faithfulness(measured)
    by_kind = {
        kind: faithfulness([one for one in measured if one.case.kind == kind])
        for kind in dict.fromkeys(case.kind for case in chosen)
    }
    few = {id(case) for start in range(0, len(chosen), count) for case in chosen[start : start + compared]}
    some = [one for one in measured if id(one.case) in few]
    names = [name for name in METHODS if name != "greedy_masking"]  # a search: ten times what the others cost
    other = RewardExplainer(randomised(model.network, model.manifest), model.encoder, settings.scoring.max_windows)
    return {
        "texts": len(chosen),
        "goals": _GOALS,
        "all": overall,
        "kinds": by_kind,
        "wall_to_cpu": shared,
        "seconds_of_128_tokens": seconds_of_128(explainer, model.encoder, repeats),
        "randomised_weights_mean_abs_spearman": alike_on(explainer, other, some),
        "typos_mean_spearman": stability(explainer, some, names),
        "compared_texts": len(few),
        "model": {"version": model.manifest.version, "digest": model.digest},
        "machine": machine(),
        "versions": versions(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--count", type=int, default=34, help="texts of each of the three kinds")
    parser.add_argument("--compared", type=int, default=8, help="of each kind, for randomised weights and typos")
    parser.add_argument("--repeats", type=int, default=5, help="of each timing")
    parser.add_argument("--timing", action="store_true", help="seconds alone, by number of threads")
    options = parser.parse_args()
    report = timing(options.repeats) if options.timing else run(options.count, options.compared, options.repeats)
    text = json.dumps(report, indent=1)
    if options.out:
        options.out.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
