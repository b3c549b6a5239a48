"""A whole explanation of one head's score of one text: windows, methods, faithfulness, within a budget of time.

A text's score is that of its worst window, so that window is explained first; others follow as the time lasts, and
a token in several windows takes its value from the worst of them. AUTO measures each method on the worst window and
keeps the one whose comprehensiveness exceeds its sufficiency by most.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from guards.base import ScoreInput
from guards.errors import FieldViolation, InvalidInput, UnknownName
from guards.explainers.base import Attribution, Budget, Explainer
from guards.explainers.explained_head import ExplainedHead, eager_twin
from guards.explainers.explanation import AttentionMap, Explanation, Faithfulness, TokenAttribution, WindowReport
from guards.explainers.faithfulness import FaithfulnessTest
from guards.explainers.methods import candidates
from guards.explainers.names import AUTO
from guards.explainers.raw_attention import attention_matrix, attention_tensors
from guards.explainers.tokens import reading_windows, token_windows
from guards.explainers.window import Side, TokenSource, TokenWindow
from guards.rewards.encoding import TextEncoder
from guards.rewards.torch_model import RewardNetwork

Floats = NDArray[np.float64]


class RewardExplainer:
    """Explains every head of one reward network. Read-only: any number of threads may use it at once."""

    def __init__(self, network: RewardNetwork, encoder: TextEncoder, max_windows: int) -> None:
        twin = eager_twin(network)
        mask_id = encoder.special("[MASK]")
        self._encoder = encoder
        self._max_windows = max_windows
        self._heads: Mapping[str, ExplainedHead] = {
            spec.name: ExplainedHead(network, twin, spec.name, mask_id) for spec in network.specs
        }

    @property
    def heads(self) -> Mapping[str, ExplainedHead]:
        return self._heads

    def explain(self, item: ScoreInput, head: str, method: str = AUTO, budget_s: float = 2.0) -> Explanation:
        """Raises UnknownName for a head or method that is not there, InvalidInput for a text it does not judge."""
        started = time.monotonic()
        budget = Budget(started + budget_s)
        explained, windows, logits, reading = self._scored(item, head)
        order = np.argsort(-logits, kind="stable")
        test = FaithfulnessTest(explained, windows[order[0]])
        method_used, attribution, faithfulness = _most_faithful(
            candidates(method), explained, windows[order[0]], test, budget
        )
        attributions: dict[int, Attribution] = {int(order[0]): attribution}
        for index in order[1:]:
            if budget.left_s <= 0:
                break
            if not windows[index].alone:  # tokens of a sentence that did not decide have values in their window
                attributions[int(index)] = method_used.attribute(explained, windows[index], budget)
        worst = float(logits[order[0]])
        calibration = explained.calibration
        return Explanation(
            head=head,
            reward=(-worst - calibration.b) / calibration.a,
            risk=_risk(worst),
            method=method_used.name,
            signed=attribution.signed,
            tokens=_merged(windows, attributions, [int(index) for index in order]),
            faithfulness=faithfulness,
            completeness_error=attribution.completeness_error,
            steps=attribution.steps,
            windows=tuple(
                _report(window, _risk(float(logit)), index in attributions)
                for index, (window, logit) in enumerate(zip(windows, logits, strict=True))
            ),
            seconds=time.monotonic() - started,
            reading=reading,
        )

    def attention(
        self, item: ScoreInput, head: str, layer: int | None, attention_head: int | None, most_tokens: int | None = None
    ) -> AttentionMap:
        """Of the worst window. Raises as `explain` does, and InvalidInput for a layer or head that is not there, or
        for a window of more than `most_tokens`."""
        explained, windows, logits, _ = self._scored(item, head)
        window = _of_size(windows[int(np.argmax(logits))], most_tokens)
        matrix = attention_matrix(explained, window, layer, attention_head)
        return AttentionMap(head, layer, attention_head, window.sources, matrix)

    def all_attention(
        self, item: ScoreInput, head: str, most_tokens: int | None = None
    ) -> tuple[tuple[TokenSource, ...], list[list[Floats]]]:
        """The worst window's tokens, and the map of every layer and head. Raises as `explain` does."""
        explained, windows, logits, _ = self._scored(item, head)
        window = _of_size(windows[int(np.argmax(logits))], most_tokens)
        layers = attention_tensors(explained, window)
        return window.sources, [[one.double().cpu().numpy() for one in layer] for layer in layers]

    def worst_window(self, item: ScoreInput, head: str) -> tuple[ExplainedHead, TokenWindow]:
        """The window that gives the text its score, and the head that judges it. Raises as `explain` does."""
        explained, windows, logits, _ = self._scored(item, head)
        return explained, windows[int(np.argmax(logits))]

    def _scored(self, item: ScoreInput, head: str) -> tuple[ExplainedHead, tuple[TokenWindow, ...], Floats, str]:
        """The windows of the text, or of the reading of it that is worst, their logits, and how it was read."""
        if head not in self._heads:
            raise UnknownName("head", head, tuple(self._heads))
        explained = self._heads[head]
        if (explained.spec.input == "prompt") != (item.response is None):
            what = "a prompt alone" if explained.spec.input == "prompt" else "a response to a prompt"
            raise InvalidInput(f"head {head} judges {what}; give it that")
        variants = [("", token_windows(self._encoder, item, self._max_windows))]
        variants += [(one.kinds, reading_windows(self._encoder, one, self._max_windows)) for one in item.readings]
        judged = [(reading, windows, explained.logits_of(windows)) for reading, windows in variants]
        reading, windows, logits = max(judged, key=lambda one: float(one[2].max()))
        return explained, windows, logits, reading


def _of_size(window: TokenWindow, most_tokens: int | None) -> TokenWindow:
    if most_tokens is not None and len(window.ids) > most_tokens:
        what = f"the worst window has {len(window.ids)} tokens, and maps are given of {most_tokens} at most"
        raise InvalidInput(f"the attention map is too large: {what}", [FieldViolation("attention", what)])
    return window


def _most_faithful(
    explainers: Sequence[Explainer], head: ExplainedHead, window: TokenWindow, test: FaithfulnessTest, budget: Budget
) -> tuple[Explainer, Attribution, Faithfulness]:
    """The first is always tried; the others while there is time."""
    best: tuple[Explainer, Attribution, Faithfulness] | None = None
    for number, explainer in enumerate(explainers):
        if number and budget.left_s <= 0:
            break
        attribution = explainer.attribute(head, window, budget)
        found = test.measure(attribution)
        if best is None or quality(found) > quality(best[2]):
            best = explainer, attribution, found
    assert best is not None
    explainer, attribution, _ = best
    return explainer, attribution, test.measure(attribution, curve=True)


def quality(faithfulness: Faithfulness) -> float:
    """What AUTO chooses by; more is better."""
    return faithfulness.comprehensiveness - faithfulness.sufficiency


def _merged(
    windows: Sequence[TokenWindow], attributions: Mapping[int, Attribution], order: Sequence[int]
) -> tuple[TokenAttribution, ...]:
    """Every token of every window once, in the order of the text, with the value of the worst explained window."""
    values: dict[TokenSource, float] = {}
    for index in reversed(order):  # the worst comes last, and stays
        window, attribution = windows[index], attributions.get(index)
        for at, source in enumerate(window.sources):
            if source.side is not Side.SPECIAL:
                if attribution is not None:
                    values[source] = float(attribution.values[at])
                else:
                    values.setdefault(source, 0.0)
    sides = {Side.PROMPT: 0, Side.RESPONSE: 1}
    ordered = sorted(values, key=lambda source: (sides[source.side], source.index))
    return tuple(TokenAttribution(source, values[source]) for source in ordered)


def _report(window: TokenWindow, risk: float, explained: bool) -> WindowReport:
    judged = Side.RESPONSE if any(source.side is Side.RESPONSE for source in window.sources) else Side.PROMPT
    own = [source for source in window.sources if source.side is judged]
    return WindowReport(own[0].start if own else 0, own[-1].end if own else 0, risk, explained)


def _risk(logit: float) -> float:
    return float(1.0 / (1.0 + np.exp(-logit)))
