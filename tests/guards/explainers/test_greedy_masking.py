from __future__ import annotations

import numpy as np

from guards.explainers.base import Budget
from guards.explainers.greedy_masking import GreedyMasking
from tests.guards.explainers.conftest import Opened


def test_the_first_token_is_the_one_whose_loss_weakens_the_decision_most(small: Opened) -> None:
    head, window = small.head("request_risk"), small.window("what is")
    values = GreedyMasking().attribute(head, window, Budget()).values
    nothing = np.zeros(len(window.ids), dtype=np.bool_)
    places = np.flatnonzero(window.own)
    assert len(places) <= 8  # so that the first step tries them all
    logits = head.logits_without(window, [nothing, *(np.arange(len(window.ids)) == place for place in places)])
    towards = 1.0 if logits[0] >= 0 else -1.0
    falls = towards * (logits[0] - logits[1:])
    assert places[np.argmax(towards * values[places])] == places[np.argmax(falls)]
    assert np.max(towards * values) >= np.max(falls) - 1e-6


def test_tokens_beyond_the_search_never_rank_above_it(small: Opened) -> None:
    head, window = small.head("request_risk"), small.window("what is this")
    values = GreedyMasking().attribute(head, window, Budget()).values
    assert np.isfinite(values).all()
    assert (values[~window.own] == 0).all()


def test_without_time_the_guide_alone_speaks(small: Opened) -> None:
    head, window = small.head("request_risk"), small.window("what is this")
    values = GreedyMasking().attribute(head, window, Budget.of(-1.0)).values
    assert values[window.own].any()
