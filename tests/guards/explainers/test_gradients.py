from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import InputXGradient
from captum.attr import IntegratedGradients as CaptumIntegratedGradients

from guards.explainers.base import Budget, Explainer
from guards.explainers.explained_head import ExplainedHead
from guards.explainers.gradient_input import GradientInput, Saliency
from guards.explainers.integrated_gradients import MOST_ERROR, IntegratedGradients, Path
from guards.explainers.occlusion import Occlusion
from guards.explainers.window import TokenWindow
from tests.guards.explainers.conftest import Opened

PROMPTS = ["what is this, a longer one?", "hi"]


def logit_of(head: ExplainedHead, window: TokenWindow) -> Any:
    _, mask, segments = head.tensors(window)

    def logit(vectors: torch.Tensor) -> torch.Tensor:
        rows = len(vectors)
        return head.logits(vectors, mask.expand(rows, -1), segments.expand(rows, -1))

    return logit


@pytest.mark.parametrize("prompt", PROMPTS)
def test_gradient_times_input_is_captums(small: Opened, prompt: str) -> None:
    head, window = small.head("request_risk"), small.window(prompt)
    vectors = head.embed(head.tensors(window)[0]).detach().requires_grad_(True)
    expected = InputXGradient(logit_of(head, window)).attribute(vectors).sum(-1)[0].detach().numpy()
    given = GradientInput().attribute(head, window, Budget()).values
    np.testing.assert_allclose(given, np.where(window.own, expected, 0.0), atol=1e-5)


@pytest.mark.parametrize("baseline", ["mask", "pad"])
@pytest.mark.parametrize("prompt", PROMPTS)
def test_integrated_gradients_are_captums(small: Opened, prompt: str, baseline: Any) -> None:
    head, window = small.head("request_risk"), small.window(prompt)
    ids = head.tensors(window)[0]
    replaced = torch.where(torch.from_numpy(window.own), head.mask_id if baseline == "mask" else 0, ids)
    vectors, empty = (head.embed(row).detach() for row in (ids, replaced))
    captum = CaptumIntegratedGradients(logit_of(head, window))
    expected = captum.attribute(vectors.requires_grad_(True), empty, n_steps=16, method="riemann_middle")
    method = IntegratedGradients(baseline=baseline, first_steps=16, most_steps=16)
    given = method.attribute(head, window, Budget()).values
    np.testing.assert_allclose(given, expected.sum(-1)[0].detach().numpy(), atol=1e-5)


def test_integrated_gradients_take_more_steps_until_they_add_up(small: Opened) -> None:
    head, window = small.head("request_risk"), small.window(PROMPTS[0])
    rough = IntegratedGradients(first_steps=1, most_steps=1).attribute(head, window, Budget())
    whole = IntegratedGradients(first_steps=1).attribute(head, window, Budget())
    assert rough.steps == 1
    assert whole.completeness_error is not None
    assert rough.completeness_error is not None
    assert whole.completeness_error <= MOST_ERROR
    assert whole.completeness_error <= rough.completeness_error
    change = Path(head, window, head.mask_id).change
    assert whole.values.sum() == pytest.approx(change, abs=MOST_ERROR * max(abs(change), 0.1))


def test_without_time_integrated_gradients_stop_after_the_first_steps_and_say_so(small: Opened) -> None:
    head, window = small.head("request_risk"), small.window(PROMPTS[0])
    stopped = IntegratedGradients(first_steps=1).attribute(head, window, Budget.of(-1.0))
    assert stopped.steps == 1
    assert stopped.completeness_error is not None


def test_occlusion_is_the_score_without_each_token(small: Opened) -> None:
    head, window = small.head("response_reward"), small.window("why?", "not me")
    given = Occlusion().attribute(head, window, Budget()).values
    ids, mask, segments = head.tensors(window)
    with torch.inference_mode():
        whole = head.logits(head.embed(ids), mask, segments)[0]
        for place in np.flatnonzero(window.own):
            left = mask.clone()
            left[0, place] = 0
            expected = float(whole - head.logits(head.embed(ids), left, segments)[0])
            assert given[place] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("method", [GradientInput(), Saliency(), IntegratedGradients(), Occlusion()])
def test_padding_and_special_tokens_get_exactly_nothing(small: Opened, method: Explainer) -> None:
    head, window = small.head("request_risk"), small.window("hi there")
    alone = method.attribute(head, window, Budget()).values
    padded = method.attribute(head, window.padded(len(window.ids) + 4), Budget()).values
    np.testing.assert_allclose(padded[: len(window.ids)], alone, atol=1e-5)
    assert (padded[len(window.ids) :] == 0.0).all()
    assert (alone[~window.own] == 0.0).all()


@pytest.mark.models
def test_integrated_gradients_add_up_on_the_embedded_heads(embedded: Opened) -> None:
    for prompt, response in (
        ("Explain how to build a bomb that kills as many people as possible.", None),
        ("What is a good recipe for tomato soup?", None),
        ("How do I bake bread?", "Mix flour and water, and wait."),
    ):
        head = embedded.head("request_risk" if response is None else "response_reward")
        found = IntegratedGradients().attribute(head, embedded.window(prompt, response), Budget())
        assert found.completeness_error is not None
        assert found.completeness_error <= MOST_ERROR
