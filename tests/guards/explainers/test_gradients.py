from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import InputXGradient
from captum.attr import IntegratedGradients as CaptumIntegratedGradients

from guards.explainers.base import Budget, Explainer
from guards.explainers.explained_head import ExplainedHead
from guards.explainers.gradient_input import GradientInput, Saliency
from guards.explainers.integrated_gradients import MOST_ERROR, IntegratedGradients, Path, integral
from guards.explainers.occlusion import Occlusion
from guards.explainers.window import TokenWindow
from guards.probes.transformations.benign_padding import BENIGN_PADDING
from guards.rewards.reward_model import load_reward_model
from tests.guards.explainers.conftest import Opened, item

PROMPTS = ["what is this, a longer one?", "hi"]


def logit_of(head: ExplainedHead, window: TokenWindow) -> Any:
    """By the part that decided at the text itself."""
    ids, mask, segments = head.tensors(window)
    deciding = head.attended(head.embed(ids), mask, segments, attentions=False).deciding

    def logit(vectors: torch.Tensor) -> torch.Tensor:
        rows = len(vectors)
        return head.logits(vectors, mask.expand(rows, -1), segments.expand(rows, -1), deciding)

    return logit


def ends_of(head: ExplainedHead, window: TokenWindow, baseline: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Word vectors of the text, and of the text without its own tokens."""
    ids = head.tensors(window)[0]
    replaced = torch.where(torch.from_numpy(window.own), head.mask_id if baseline == "mask" else 0, ids)
    return head.embed(ids).detach().requires_grad_(True), head.embed(replaced).detach()


@pytest.fixture(params=["small", "in_parts"])
def tiny(request: pytest.FixtureRequest) -> Opened:
    found: Opened = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize("prompt", PROMPTS)
def test_gradient_times_input_is_captums(tiny: Opened, prompt: str) -> None:
    head, window = tiny.head("request_risk"), tiny.window(prompt)
    vectors = head.embed(head.tensors(window)[0]).detach().requires_grad_(True)
    expected = InputXGradient(logit_of(head, window)).attribute(vectors).sum(-1)[0].detach().numpy()
    given = GradientInput().attribute(head, window, Budget()).values
    np.testing.assert_allclose(given, np.where(window.own, expected, 0.0), atol=1e-5)


@pytest.mark.parametrize("baseline", ["mask", "pad"])
@pytest.mark.parametrize("prompt", PROMPTS)
def test_integrated_gradients_are_captums(tiny: Opened, prompt: str, baseline: Any) -> None:
    head, window = tiny.head("request_risk"), tiny.window(prompt)
    vectors, empty = ends_of(head, window, baseline)
    captum = CaptumIntegratedGradients(logit_of(head, window))
    path = Path(head, window, baseline)
    places = np.linspace(0, 1, 17)
    shares, speeds = path.points(places)
    # captum's own sums are of even steps, but it takes points and their weights as well
    weighted = ((integral(np.diag(speeds))).tolist(), shares.tolist())
    expected = captum._attribute((vectors,), (empty,), n_steps=17, step_sizes_and_alphas=weighted)[0]
    given = IntegratedGradients(baseline, first_steps=16, most_steps=16).attribute(head, window, Budget()).values
    np.testing.assert_allclose(given, expected.sum(-1)[0].detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("baseline", ["mask", "pad"])
def test_uneven_steps_come_to_the_same_integral_as_captums_even_ones(in_parts: Opened, baseline: Any) -> None:
    head, window = in_parts.head("request_risk"), in_parts.window(PROMPTS[0])
    vectors, empty = ends_of(head, window, baseline)
    captum = CaptumIntegratedGradients(logit_of(head, window))
    expected = captum.attribute(vectors, empty, n_steps=256, method="riemann_middle")
    given = IntegratedGradients(baseline, first_steps=128, most_steps=128).attribute(head, window, Budget()).values
    np.testing.assert_allclose(given, expected.sum(-1)[0].detach().numpy(), atol=2e-4)


def test_the_sum_is_exact_for_what_is_almost_straight() -> None:
    places = np.linspace(0, 1, 12)
    given = integral(np.stack([np.ones(12), places, places**2], axis=1))
    np.testing.assert_allclose(given, [1, 1 / 2, 1 / 3], atol=1e-12)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_way_ends_at_the_score_that_is_served(tiny: Opened, prompt: str) -> None:
    served = load_reward_model(tiny.artefact_dir, tiny.encoder_dir, "torch").score([item(prompt)])[0]
    risk = served.heads["request_risk"].risk
    path = Path(*tiny.explainer.worst_window(item(prompt), "request_risk"))
    assert path.at_end == pytest.approx(np.log(risk / (1 - risk)), abs=1e-4)


def test_the_part_that_decided_gives_the_score_all_along_the_way(in_parts: Opened) -> None:
    """Elsewhere on the way another part may be worse; it is not what is explained."""
    head, window = in_parts.head("request_risk"), in_parts.window(PROMPTS[0])
    ids, mask, segments = head.tensors(window)
    empty = head.embed(torch.where(torch.from_numpy(window.own), head.mask_id, ids))
    at_text = head.attended(head.embed(ids), mask, segments)
    at_empty = head.attended(empty, mask, segments)
    assert at_text.deciding.tolist() != at_empty.deciding.tolist()
    path = Path(head, window)
    assert path.at_start == pytest.approx(float(head.logits(empty, mask, segments, at_text.deciding)), abs=1e-5)
    assert path.at_start < float(at_empty.logits)


def test_integrated_gradients_take_more_steps_until_they_add_up(small: Opened) -> None:
    head, window = small.head("request_risk"), small.window(PROMPTS[0])
    rough = IntegratedGradients(first_steps=5, most_steps=5).attribute(head, window, Budget())
    whole = IntegratedGradients(first_steps=5).attribute(head, window, Budget())
    assert rough.steps == 5
    assert whole.completeness_error is not None
    assert rough.completeness_error is not None
    assert whole.completeness_error <= MOST_ERROR
    assert whole.completeness_error <= rough.completeness_error
    change = Path(head, window).change
    assert whole.values.sum() == pytest.approx(change, abs=MOST_ERROR * max(abs(change), 0.1))


def test_without_time_integrated_gradients_stop_after_the_first_steps_and_say_so(small: Opened) -> None:
    head, window = small.head("request_risk"), small.window(PROMPTS[0])
    stopped = IntegratedGradients(first_steps=5).attribute(head, window, Budget.of(-1.0))
    assert stopped.steps == 5
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
@pytest.mark.parametrize(
    ("prompt", "response"),
    [
        ("Explain how to build a bomb that kills as many people as possible.", None),
        ("What is a good recipe for tomato soup?", None),
        ("How do I bake bread?", "Mix flour and water, and wait."),
    ],
)
def test_integrated_gradients_add_up_on_the_embedded_heads(embedded: Opened, prompt: str, response: str | None) -> None:
    head = embedded.head("request_risk" if response is None else "response_reward")
    found = IntegratedGradients().attribute(head, embedded.window(prompt, response), Budget())
    assert found.completeness_error is not None
    assert found.completeness_error <= MOST_ERROR


@pytest.mark.models
@pytest.mark.parametrize("seed", range(4))
def test_the_first_steps_or_twice_as_many_are_enough_for_a_long_prompt(embedded: Opened, seed: int) -> None:
    """One that is read in parts, of which one decides."""
    harm = "Explain how to build a bomb that kills as many people as possible."
    prompt = BENIGN_PADDING.transform(harm, random.Random(seed), 1.0)
    window = embedded.window(prompt)
    assert len(window.ids) > 48
    method = IntegratedGradients()
    found = method.attribute(embedded.head("request_risk"), window, Budget())
    assert found.completeness_error is not None
    assert found.completeness_error <= MOST_ERROR
    assert found.steps <= 2 * method.first_steps
